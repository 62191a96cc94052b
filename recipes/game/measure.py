"""Measures the game's pair on held-out clips: fidelity, agreement, ranking.

``python recipes/game/measure.py --out runs/game`` first chooses the joint scales on captions of
training clips, then makes the clips of every row and seed, reads them with the trained readers, and
lets both discriminators rank held-out pairs: ``OUT/evaluation/figures.json``. Every cell is kept;
the same command goes on.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from agreement import Agreement, agreement, named, tells
from cells import (
    OFF,
    REAL,
    RECONSTRUCTED,
    ClipsCell,
    Row,
    Scales,
    TaskOf,
    audio_to_video,
    few_rows,
    jointly,
    rows,
    video_to_audio,
)
from held_out import loaded
from ranking import held_out_pairs, ranking_by_level
from reading import Readers

from mmdisco.core.av import AV
from mmdisco.discriminators.hub import PretrainedDiscriminator
from mmdisco.experiments.grid import run
from mmdisco.io.files import plain, read_object, write_json
from mmdisco.io.reports import versions

SWEPT: Final = 96  # clips of a cell that chooses scales
JOINT: Final = (AV(1.0, 1.0), AV(3.0, 3.0), AV(3.0, 10.0), AV(6.0, 10.0), AV(2.0, 10.0))
TO_AUDIO: Final = (1.0, 6.0, 12.0, 20.0)
TO_VIDEO: Final = (1.0, 6.0, 12.0)
WORSE: Final = 1.1  # times the distance of the unguided baseline that costs nothing
COUNTED: Final = ("events", "class")  # of the agreement, for the choice of scales
PARTS: Final = ("validation", "held_out")


@dataclass(frozen=True)
class Study:
    """What is measured.

    Attributes:
        run: Folder of the run.
        clips: Clips of a row and seed.
        seeds: Seeds of the noise, from 0.
        jobs: Processes, one thread each.
        swept: Clips of a cell that chooses scales.
    """

    run: Path
    clips: int = 256
    seeds: int = 3
    jobs: int = 2
    swept: int = SWEPT

    @property
    def out(self) -> Path:
        """Folder of cells and figures."""
        return self.run / "evaluation"

    def cell(self, part: str, row: Row | str, seed: int = 0) -> ClipsCell:
        """One cell; those of training captions choose the scales."""
        clips = self.swept if part == "train" else self.clips
        return ClipsCell(self.out, self.run, part, row, seed, clips)

    def carry_out(self, cells: Sequence[ClipsCell]) -> None:
        """Make and read the clips of all cells that are not done."""
        for cell, done, total in run(cells, self.jobs):
            sys.stderr.write(f"{cell.label}: {done} of {total} cells\n")


def main() -> None:
    """Scales, cells, ranking, figures."""
    parser = argparse.ArgumentParser(description="Measure the game's pair.")
    parser.add_argument("--out", type=Path, default=Path("runs/game"))
    parser.add_argument("--clips", type=int, default=256, help="of a row and seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args()
    measure(Study(options.out, options.clips, options.seeds, options.jobs))


def measure(study: Study) -> dict[str, Any]:
    """Measure everything, and write ``figures.json``."""
    scales = chosen_scales(study)
    by_part = {"validation": rows(scales), "held_out": few_rows(scales)}
    todo = [study.cell(part, name) for part in PARTS for name in (REAL, RECONSTRUCTED)]
    todo += [
        study.cell(part, row, seed)
        for part, own in by_part.items()
        for row in own
        for seed in range(study.seeds)
    ]
    study.carry_out(todo)
    found = {
        "clips": study.clips,
        "seeds": list(range(study.seeds)),
        "scales": asdict(scales),
        "rows": {part: table([one for one in todo if one.part == part]) for part in PARTS},
        "ranking": {part: ranked(study, part) for part in PARTS},
        "versions": versions("mmdisco", "torch", "diffusers", "numpy"),
    }
    write_json(study.out / "figures.json", plain(found))
    return found


def table(cells: Sequence[ClipsCell]) -> dict[str, dict[str, Any]]:
    """Figures of each row, its seeds together.

    Args:
        cells: Cells of one part, those of real clips among them.
    """
    by_row: defaultdict[str, list[ClipsCell]] = defaultdict(list)
    for cell in cells:
        by_row[cell.name_of_row].append(cell)
    agreements = {name: agreement_of(own) for name, own in by_row.items()}
    real = agreements[RECONSTRUCTED]
    return {
        name: {figure: one.record(real.get(figure)) for figure, one in agreements[name].items()}
        | {"recognised": recognised(own), "frechet": distances(own)}
        for name, own in by_row.items()
    }


def agreement_of(cells: Sequence[ClipsCell]) -> dict[str, Agreement]:
    """Agreement over the seeds of a row; sounds are recombined within a seed."""
    kinds = Readers.load(cells[0].run / "readers").on_both_sides
    found: defaultdict[str, list[Agreement]] = defaultdict(list)
    for cell in cells:
        readings, captions = cell.readings(), [one.caption for one in cell.asked]
        seen, heard = [one.seen for one in readings], [one.heard for one in readings]
        for name, one in agreement(seen, heard, captions, kinds, cell.seed).items():
            found[name].append(one)
    return {name: joined(parts) for name, parts in found.items()}


def joined(parts: Sequence[Agreement]) -> Agreement:
    """Put the clips of several seeds one after another."""
    own, recombined = ([getattr(one, side) for one in parts] for side in ("own", "recombined"))
    return Agreement(np.concatenate(own), np.concatenate(recombined))


def recognised(cells: Sequence[ClipsCell]) -> dict[str, float]:
    """Shares of clips in which readers recognise what the caption asks for.

    Of the scenario, the one that the pictures resemble most; of sound, where the caption says what
    happens, the kind that is heard most clearly, or nothing.
    """
    readers = Readers.load(cells[0].run / "readers")
    pairs = [pair for cell in cells for pair in zip(cell.asked, cell.readings(), strict=True)]
    places = [r.scenario == one.scenario for one, r in pairs if one.scenario in readers.scenarios]
    told = [
        ({kind for kind in named(one.caption) if readers.reads("heard", kind)}, reading.sound)
        for one, reading in pairs
        if tells(one.caption)
    ]
    sounds = [sound in kinds if sound else not kinds for kinds, sound in told]
    return {"scenario": _share(places), "sound": _share(sounds), "clips that tell": len(told)}


def distances(cells: Sequence[ClipsCell]) -> dict[str, float]:
    """Mean Fréchet distances over the seeds."""
    records = [cell.results()["frechet"] for cell in cells]
    return {side: float(np.mean([one[side] for one in records])) for side in records[0]}


def chosen_scales(study: Study) -> Scales:
    """Choose the joint scales by captions of training clips; ``scales.json``, made once.

    Of each task the scale is taken that closes most of the gap to real clips, less the share by
    which its clips are farther from real ones than ``WORSE`` times the unguided baseline: a tenth
    of the gap is worth a tenth of the distance.
    """
    kept = study.out / "scales.json"
    if not kept.exists():
        joint = candidates(study, "joint", jointly, JOINT)
        sound = candidates(
            study, "video to audio", video_to_audio, [AV(one, 0.0) for one in TO_AUDIO]
        )
        video = candidates(
            study, "audio to video", audio_to_video, [AV(0.0, one) for one in TO_VIDEO]
        )
        tasks = (joint, sound, video)
        real = [study.cell("train", name) for name in (REAL, RECONSTRUCTED)]
        study.carry_out([*real, *(cell for own in tasks for cell in own)])
        best = [best_of(own, agreement_of(real[1:])) for own in tasks]
        scales = Scales(best[0], best[1].audio, best[2].video)
        write_json(kept, {**asdict(scales), "clips": study.swept})
    record = read_object(kept)
    return Scales(AV(**record["joint"]), record["to_audio"], record["to_video"])


def candidates(
    study: Study, name: str, task: TaskOf, scales: Sequence[AV[float]]
) -> list[ClipsCell]:
    """Return the cells of a task: the unguided baseline, then each scale."""
    return [
        study.cell("train", Row(f"{name}, {one.audio:g} {one.video:g}", task, one))
        for one in (OFF, *scales)
    ]


def best_of(cells: Sequence[ClipsCell], real: Mapping[str, Agreement]) -> AV[float]:
    """Return the best scale of a task's cells, the first of which is unguided."""
    unguided = distances(cells[:1])

    def worth(cell: ClipsCell) -> float:
        own = agreement_of([cell])
        closed = float(np.mean([own[name].gap_closed(real[name])[0] for name in COUNTED]))
        ratios = [one / unguided[side] for side, one in distances([cell]).items()]
        excess = max([WORSE, *ratios]) - WORSE
        return closed - excess if np.isfinite(closed) else -np.inf

    guided = cells[1:]
    values = [worth(cell) for cell in guided]
    best = guided[int(np.argmax(values))].row
    assert isinstance(best, Row)
    return best.scale


def ranked(study: Study, part: str) -> dict[str, Any]:
    """Ranking of both discriminators on the clips of a part; kept."""
    kept = study.out / f"ranking-{part}.json"
    if not kept.exists():
        torch.set_num_threads(1)
        _, model = loaded(study.run / "pair")
        pairs, captions = held_out_pairs(study.run / "prepared" / part)
        found = {
            name: ranking_by_level(
                PretrainedDiscriminator.load(study.run / name).network, pairs, captions, model
            )
            for name in ("discriminator", "additive")
        }
        write_json(kept, found)
    return read_object(kept)


def _share(found: Sequence[bool]) -> float:
    return float(np.mean(found)) if found else float("nan")


if __name__ == "__main__":
    main()
