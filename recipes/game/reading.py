"""Readers of clips: what happens in their pictures, and what happens in their sound.

``Readers.load(folder).read(clips)`` reads clips as the game's or as generated ones; ``readers.py``
trains the readers and measures them against the game's own record.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from networks import HearingNetwork, SightNetwork
from play import EVERY, TICS
from records import KINDS, Event, EventKind, Features, features

from mmdisco.io.files import read_header, read_tensors, write_tensors
from mmdisco.media.clip import AudioVideo
from mmdisco.training.checkpoint import TrainingCheckpoint, grouped, load_weights

FILE: Final = "readers.safetensors"
CHUNK: Final = 64  # clips
# tics from the beginning of a picture's time to the middle of where its events begin
MIDDLE: Final = {"seen": -1.0, "heard": 1.0}

Side = Literal["seen", "heard"]
SIDES: Final[tuple[Side, ...]] = ("seen", "heard")
Thresholds = Mapping[EventKind, float | None]
"""Least score of an event; None for a kind that is not read."""


@dataclass(frozen=True)
class Reading:
    """What is read of one clip.

    Attributes:
        seen: Events in the pictures, in the order of time.
        heard: Events in the sound, in the order of time.
        sight: The kind that is seen most clearly; None where nothing happens.
        sound: The kind that is heard most clearly; None where nothing happens.
        scenario: The scenario that the pictures resemble most, of those that readers know.
    """

    seen: tuple[Event, ...]
    heard: tuple[Event, ...]
    sight: EventKind | None
    sound: EventKind | None
    scenario: str


@dataclass(frozen=True)
class Candidate:
    """A place where an event may begin, before a threshold.

    Attributes:
        event: The event.
        score: Chance that it begins in this picture's time or in a neighbour's.
    """

    event: Event
    score: float


@dataclass(frozen=True, eq=False)
class Readers:
    """Two trained networks with thresholds.

    Attributes:
        sight: Network of pictures.
        hearing: Network of sounds.
        scenarios: Names of the scenarios that are known.
        thresholds: Least scores, of each side.
    """

    sight: SightNetwork
    hearing: HearingNetwork
    scenarios: tuple[str, ...]
    thresholds: Mapping[Side, Thresholds]

    @staticmethod
    def load(folder: Path) -> "Readers":
        """Load the readers that ``readers.py`` trained.

        Raises:
            UserError: The file is missing or damaged.
        """
        path = folder / FILE
        tensors, kept = read_tensors(path), json.loads(read_header(path).metadata["readers"])
        scenarios = tuple(kept["scenarios"])
        sight, hearing = SightNetwork(len(scenarios)), HearingNetwork()
        weights = TrainingCheckpoint(0, {}, tensors)
        load_weights(sight, weights.group("sight"), path)
        load_weights(hearing, weights.group("hearing"), path)
        return Readers(sight.eval(), hearing.eval(), scenarios, kept["thresholds"])

    def save(self, folder: Path) -> None:
        """Write the file that ``load`` reads."""
        tensors = grouped("sight", self.sight.state_dict())
        tensors |= grouped("hearing", self.hearing.state_dict())
        kept = {"scenarios": list(self.scenarios), "thresholds": self.thresholds}
        # one entry: safetensors writes several in any order, and the file would not be the same
        write_tensors(folder / FILE, tensors, {"readers": json.dumps(kept)})

    @property
    def on_both_sides(self) -> tuple[EventKind, ...]:
        """Kinds that are read from pictures and from sound, those that can agree."""
        return tuple(kind for kind in KINDS if all(self.reads(side, kind) for side in SIDES))

    def reads(self, side: Side, kind: EventKind) -> bool:
        """Whether a kind is read from this side."""
        return self.thresholds[side][kind] is not None

    def read(self, clips: Sequence[AudioVideo]) -> list[Reading]:
        """Read clips at the rates and the size of the game's, as ``read_file`` returns them."""
        found: list[Reading] = []
        for begin in range(0, len(clips), CHUNK):
            found += self.read_features(features(clips[begin : begin + CHUNK]))
        return found

    def read_features(self, clips: Features) -> list[Reading]:
        """Read clips whose features are kept."""
        sides = self.candidates(clips)
        named = self.resembles(clips)
        return [
            self._reading(seen, heard, scenario)
            for seen, heard, scenario in zip(sides["seen"], sides["heard"], named, strict=True)
        ]

    @torch.no_grad()
    def candidates(self, clips: Features) -> dict[Side, list[list[Candidate]]]:
        """Find all places of each clip where an event may begin."""
        seen = [self.sight(one.float() / 255)[0] for one in clips.pictures.split(CHUNK)]
        heard = [self.hearing(one.float()) for one in clips.sounds.split(CHUNK)]
        chances = {"seen": torch.cat(seen).sigmoid(), "heard": torch.cat(heard).sigmoid()}
        return {side: [peaks(one.numpy(), side) for one in chances[side]] for side in SIDES}

    @torch.no_grad()
    def resembles(self, clips: Features) -> list[str]:
        """Name the scenario of each clip's pictures."""
        logits = [self.sight(one.float() / 255)[1] for one in clips.pictures.split(CHUNK)]
        chosen = torch.cat(logits).log_softmax(-1).mean(1).argmax(1)
        return [self.scenarios[index] for index in chosen.tolist()]

    def chosen(self, side: Side, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Keep candidates above the threshold of their kind, in the order of time."""
        own = self.thresholds[side]
        above = (one for one in candidates if one.score >= (own[one.event.kind] or np.inf))
        return sorted(above, key=lambda one: one.event.second)

    def _reading(
        self, seen: Sequence[Candidate], heard: Sequence[Candidate], scenario: str
    ) -> Reading:
        sight, sound = self.chosen("seen", seen), self.chosen("heard", heard)
        return Reading(
            seen=tuple(one.event for one in sight),
            heard=tuple(one.event for one in sound),
            sight=_clearest(sight),
            sound=_clearest(sound),
            scenario=scenario,
        )


def peaks(chance: npt.NDArray[np.floating], side: Side) -> list[Candidate]:
    """Find where chances (steps, kinds) of events have a maximum, with a time between steps."""
    padded = np.pad(chance.astype(np.float64), ((1, 1), (0, 0)))
    before, here, after = padded[:-2], padded[1:-1], padded[2:]
    mass = before + here + after
    centre = np.arange(len(chance))[:, None] + (after - before) / np.maximum(mass, 1e-9)
    found: list[Candidate] = []
    for step, kind in zip(*np.nonzero((here >= before) & (here > after)), strict=True):
        tic = EVERY * centre[step, kind] + MIDDLE[side]
        event = Event(KINDS[kind], max(0.0, float(tic)) / TICS)
        found.append(Candidate(event, min(1.0, float(mass[step, kind]))))
    return found


def _clearest(candidates: Sequence[Candidate]) -> EventKind | None:
    if not candidates:
        return None
    return max(candidates, key=lambda one: one.score).event.kind
