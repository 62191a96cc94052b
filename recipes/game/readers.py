"""Trains readers of the game's clips and measures them against the game's own record.

``python recipes/game/readers.py --clips runs/game/clips --out runs/game/readers`` trains a network
on pictures alone and one on sound alone, chooses thresholds on sessions that neither was trained
on, and writes ``readers.safetensors`` and ``figures.json``: F1 at ±0.1 s of every kind of event,
on validation clips and on those of the scenario that is held out, and how well pictures and sounds
of real clips agree, against sounds recombined within a caption. It can be stopped at any time.

Not everything can be seen or heard. The game's pictures show no sign of a hurt, so no reader of
pictures has to see one; nor has any to read what begins before the second picture of a clip or
after the last, or too late for its sound. Figures are given with such events too.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from agreement import TOLERANCE, agreement, as_said
from make_clips import caption
from networks import HearingNetwork, SightNetwork, muffled_sounds, softer_pictures
from reading import CHUNK, SIDES, Readers, Side
from record_scores import against_record, best_thresholds, recognised
from records import (
    KINDS,
    STEPS,
    WEAPONS,
    EventKind,
    Features,
    Record,
    drawn,
    heard_step,
    joined,
    kept_features,
    seen_step,
    sessions_of,
)
from scenarios import BY_NAME
from torch import Generator, Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from mmdisco.core.rng import seeded_generator
from mmdisco.io.files import write_json
from mmdisco.io.reports import versions
from mmdisco.training.bases.config import FitConfig
from mmdisco.training.bases.fit import FitRun, Watch

SIGHT: Final = FitConfig(
    steps=4000, batch_size=16, warmup_steps=50, ema=0.995, checkpoint_every=250
)
HEARING: Final = FitConfig(
    steps=3000, batch_size=32, warmup_steps=50, ema=0.995, checkpoint_every=250
)
SCENARIO_WEIGHT: Final = 0.05  # beside the loss of events, which is a mean over few that happen
TUNING: Final = 6  # one of so many sessions chooses thresholds
SHOTS: Final = set(WEAPONS.values())


@dataclass(frozen=True, eq=False)
class Labelled:
    """Clips with what the game recorded of them."""

    records: Sequence[Record]
    clips: Features

    @staticmethod
    def of(sessions: Sequence[list[Record]], out: Path) -> "Labelled":
        """Read the clips of sessions; what is read is kept in ``out``."""
        parts: list[Features] = []
        for done, session in enumerate(sessions, 1):
            name = session[0].path.stem.rpartition("-")[0]
            parts.append(kept_features(session, out / f"{name}.safetensors"))
            if done % 10 == 0 or done == len(sessions):
                sys.stderr.write(f"{out.name}: {done} of {len(sessions)} sessions read\n")
        return Labelled([one for session in sessions for one in session], joined(parts))

    def targets(self, side: Side) -> tuple[Tensor, Tensor]:
        """Return where events begin (clips, STEPS, kinds), and what the loss counts."""
        step_of = seen_step if side == "seen" else heard_step
        begins = torch.zeros(len(self.records), STEPS, len(KINDS))
        counts = torch.ones_like(begins)
        for row, record in enumerate(self.records):
            for event in record.events:
                step, kind = step_of(event), KINDS.index(event.kind)
                if step < STEPS:
                    begins[row, step, kind] = 1
                    counts[row, step, kind] = float(side == "heard" or step > 0)
        return begins, counts

    def captions(self) -> list[str]:
        """Captions, as ``make_clips`` writes them."""
        found: list[str] = []
        for one in self.records:
            kinds: set[str] = {"shot" if each.kind in SHOTS else each.kind for each in one.events}
            found.append(caption(one.path.name, BY_NAME[one.scenario], kinds))
        return found


def main() -> None:
    """Read clips, train, choose thresholds, measure."""
    parser = argparse.ArgumentParser(description="Train readers of the game's clips.")
    parser.add_argument("--clips", type=Path, default=Path("runs/game/clips"))
    parser.add_argument("--out", type=Path, default=Path("runs/game/readers"))
    parser.add_argument("--train", type=int, default=8000, help="clips to train on")
    parser.add_argument("--measure", type=int, default=600, help="clips to measure on, each part")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)

    def part(name: str, clips: int) -> list[list[Record]]:
        return drawn(sessions_of(options.clips / name), clips, options.seed)

    sessions = part("train", options.train)
    tuning = Labelled.of(sessions[::TUNING], options.out / "features" / "train")
    rest = [one for k, one in enumerate(sessions) if k % TUNING]
    training = Labelled.of(rest, options.out / "features" / "train")
    readers = trained(training, options.out, options.seed)
    chosen = best_thresholds(readers.candidates(tuning.clips), tuning.records)
    readers = replace(readers, thresholds=chosen)
    readers.save(options.out)
    found: dict[str, Any] = {}
    for name in ("validation", "held_out"):
        labelled = Labelled.of(part(name, options.measure), options.out / "features" / name)
        found[name] = measured(readers, labelled, options.seed)
    found["thresholds"] = readers.thresholds
    found["clips trained on"] = len(training.records)
    found["clips for thresholds"] = len(tuning.records)
    found |= {
        "tolerance": TOLERANCE,
        "seed": options.seed,
        "versions": versions("mmdisco", "torch"),
    }
    write_json(options.out / "figures.json", found)


def trained(training: Labelled, out: Path, seed: int) -> Readers:
    """Train both networks; thresholds are none yet."""
    scenarios = tuple(sorted({one.scenario for one in training.records}))
    place = torch.tensor([scenarios.index(one.scenario) for one in training.records])
    seen, heard = training.targets("seen"), training.targets("heard")
    torch.manual_seed(seed)
    sight, hearing = SightNetwork(len(scenarios)), HearingNetwork()

    def see(step: int, generator: Generator) -> Tensor:
        del step
        rows = torch.randint(len(place), (SIGHT.batch_size,), generator=generator)
        pictures = training.clips.pictures[rows].float() / 255
        events, places = sight(softer_pictures(pictures, generator))
        named = cross_entropy(places.flatten(0, 1), place[rows].repeat_interleave(STEPS))
        return event_loss(events, seen, rows) + SCENARIO_WEIGHT * named

    def hear(step: int, generator: Generator) -> Tensor:
        del step
        rows = torch.randint(len(place), (HEARING.batch_size,), generator=generator)
        sounds = muffled_sounds(training.clips.sounds[rows], generator)
        return event_loss(hearing(sounds), heard, rows)

    kept = {name: out / f"{name}_training.safetensors" for name in ("hearing", "sight")}
    fitted = FitRun(HEARING, seed, kept["hearing"], lines("hearing", HEARING.steps))
    hearing = fitted.fit(hearing, hear)
    fitted = FitRun(SIGHT, seed, kept["sight"], lines("sight", SIGHT.steps))
    sight = fitted.fit(sight, see)
    nothing: dict[EventKind, float | None] = dict.fromkeys(KINDS)
    return Readers(sight, hearing, scenarios, dict.fromkeys(SIDES, nothing))


def event_loss(logits: Tensor, targets: tuple[Tensor, Tensor], rows: Tensor) -> Tensor:
    """Mean cross-entropy of events, in what is counted."""
    begins, counts = (one[rows] for one in targets)
    return binary_cross_entropy_with_logits(logits, begins, counts)


def lines(name: str, steps: int) -> Watch:
    """Return what writes a line every hundred updates."""
    began = time.monotonic()

    def watch(done: int, loss: float, average: nn.Module) -> None:
        del average
        if done % 100 == 0 or done == steps:
            spent = time.monotonic() - began
            sys.stderr.write(f"{name}: {done} of {steps}, loss {loss:.4f}, {spent:.0f} s\n")

    return watch


def measured(readers: Readers, labelled: Labelled, seed: int) -> dict[str, Any]:
    """Measure readers on clips, on softer ones too, and the clips' own agreement."""
    read: dict[Side, set[EventKind]] = {
        side: {kind for kind in KINDS if readers.reads(side, kind)} for side in SIDES
    }
    readings = readers.read_features(labelled.clips)
    softer = readers.read_features(softened(labelled.clips, seed))
    own = agreement(
        [one.seen for one in readings],
        [one.heard for one in readings],
        labelled.captions(),
        readers.on_both_sides,
        seed,
    )
    return {
        "clips": len(readings),
        "f1": against_record(readings, labelled.records, read),
        "f1 of softer clips": against_record(softer, labelled.records, read),
        "recognised": recognised(readings, labelled.records),
        "sound as captions say": as_said(
            [one.sound for one in readings], labelled.captions(), read["heard"]
        ),
        "scenarios": dict(Counter(one.scenario for one in readings)),
        "agreement": {name: one.record() for name, one in own.items()},
    }


def softened(clips: Features, seed: int) -> Features:
    """Return clips as training sees them."""
    generator = seeded_generator(seed, 0)
    pictures = [
        (softer_pictures(one.float() / 255, generator) * 255).round().to(torch.uint8)
        for one in clips.pictures.split(CHUNK)
    ]
    return Features(torch.cat(pictures), muffled_sounds(clips.sounds, generator))


if __name__ == "__main__":
    main()
