"""Grid of the embedded pair's evaluation: cells in processes, each kept when it is done."""

import platform
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmdisco.adapters.miniature.spec import PACKAGED
from mmdisco.core.av import AV
from mmdisco.errors import UserError
from mmdisco.evaluation.metrics.frechet import FeatureStatistics
from mmdisco.evaluation.metrics.sounding_objects.feature_networks import FEATURES
from mmdisco.experiments.miniature.evaluation import (
    REFERENCE_CLIPS,
    Bench,
    MiniatureCell,
    MiniatureRow,
    joined,
    rows,
)
from mmdisco.experiments.miniature.tables import REAL, summary, tables
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.io.files import plain, read_object, read_tensors, write_json, write_tensors, write_text
from mmdisco.io.workers import each

Watch = Callable[[str, int, int], object]
"""Progress callback: title, number done, and total."""


def unwatched(*_: object) -> None:
    """Ignore progress."""


@dataclass(frozen=True)
class MiniatureJob:
    """One cell to evaluate.

    Attributes:
        weights: Folder of the pair.
        out: Folder of the results.
        row: ``None`` for real pairs through the autoencoders.
        seed: Seed of the sampling noise.
        clips: Number of clips.
    """

    weights: Path
    out: Path
    row: MiniatureRow | None
    seed: int
    clips: int

    @property
    def name(self) -> str:
        """Name of the row."""
        return self.row.name if self.row else REAL

    @property
    def file(self) -> Path:
        """File of the cell's record."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.name.lower())
        return self.out / "cells" / f"{slug}-seed{self.seed}.json"

    @property
    def settings(self) -> dict[str, Any]:
        """Return the settings that the cell depends on."""
        return {
            "row": self._row(),
            "seed": self.seed,
            "clips": self.clips,
            "weights": MiniatureSystem(self.weights).config["sha256"],
        }

    def _row(self) -> dict[str, Any] | str:
        if self.row is None:
            return REAL
        record = asdict(self.row)
        # scales of other rows; the scale of this one is its joint scale
        for unused in ("video_to_audio", "audio_to_video"):
            del record["sampling"][unused]
        return record


def evaluate(
    out: Path,
    weights: Path | None,
    names: Sequence[str],
    *,
    clips: int,
    seeds: int,
    jobs: int,
    watch: Watch = unwatched,
) -> str:
    """Evaluate all missing cells, and write ``results.json`` and ``tables.md``.

    Returns:
        The tables.

    Raises:
        UserError: There is no such row, or the numbers are too small for a table.
    """
    # with fewer clips than features the covariance is singular
    if clips <= FEATURES or min(seeds, jobs) < 1:
        raise UserError(f"evaluate at least {FEATURES + 1} clips, 1 seed, 1 job")
    folder = weights or PACKAGED
    wanted = rows(MiniatureSystem(folder).sampling())
    known = [row.name for row in wanted]
    for name in names:
        if name not in known:
            raise UserError(f"unknown row {name!r}: choose of {', '.join(known)}")
    chosen = [row for row in wanted if not names or row.name in names]
    todo = [MiniatureJob(folder, out, None, 0, clips)] + [
        MiniatureJob(folder, out, row, seed, clips) for row in chosen for seed in range(seeds)
    ]
    return run(todo, jobs, watch)


def run(todo: Sequence[MiniatureJob], jobs: int, watch: Watch = unwatched) -> str:
    """Evaluate the missing cells of ``todo``, then summarize all of them."""
    out, weights = todo[0].out, todo[0].weights
    reference_of(out, weights, watch)
    missing = [job for job in todo if not _is_done(job)]
    watch("cells", 0, len(missing))
    for done, _ in enumerate(each(_make, missing, jobs), start=1):
        watch("cells", done, len(missing))
    cells: dict[str, list[dict[str, Any]]] = {}
    for job in todo:
        cells.setdefault(job.name, []).append(read_object(job.file)["figures"])
    figures = summary(cells)
    text = tables(figures)
    note = _note(todo)
    write_json(
        out / "results.json",
        {
            "conditions": note,
            "figures": {
                name: {key: plain(asdict(spread)) for key, spread in row.items()}
                for name, row in figures.items()
            },
        },
    )
    line = ", ".join(f"{key} {value}" for key, value in note.items())
    write_text(out / "tables.md", f"{text}\n\n{line}\n")
    return f"{text}\n\n{line}"


def _note(todo: Sequence[MiniatureJob]) -> Mapping[str, Any]:
    packages = ("mmdisco", "torch", "diffusers", "numpy", "scipy")
    return {
        "clips a row and seed": todo[0].clips,
        "seeds": sorted({job.seed for job in todo}),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def _is_done(job: MiniatureJob) -> bool:
    if not job.file.is_file():
        return False
    record = read_object(job.file)
    # through JSON, which turns tuples into lists
    return record["settings"] == plain(job.settings)


def _make(job: MiniatureJob) -> None:
    bench = Bench.load(MiniatureSystem(job.weights))
    clips = (
        bench.generated(job.row, job.seed, job.clips) if job.row else bench.reconstructed(job.clips)
    )
    cell: MiniatureCell = joined(list(bench.read(clips)))
    figures = cell.record(reference_of(job.out, job.weights), job.seed)
    write_json(job.file, {"settings": plain(job.settings), "figures": plain(figures)})


def reference_of(out: Path, weights: Path, watch: Watch = unwatched) -> AV[FeatureStatistics]:
    """Compute statistics of real clips once, and keep them."""
    sums = MiniatureSystem(weights).config["sha256"]
    # features of other networks are not comparable
    key = f"{sums['audio_features'][:8]}-{sums['video_features'][:8]}"
    file = out / f"reference-{key}.safetensors"
    if not file.is_file():
        bench = Bench.load(MiniatureSystem(weights))
        parts: list[AV[FeatureStatistics]] = []
        for part in bench.reference():
            parts.append(part)
            watch("real clips", sum(one.audio.count for one in parts), REFERENCE_CLIPS)
        whole = AV(_merged([part.audio for part in parts]), _merged([part.video for part in parts]))
        write_tensors(file, {**_pack("audio", whole.audio), **_pack("video", whole.video)}, {})
    kept = read_tensors(file)
    return AV(_unpack("audio", kept), _unpack("video", kept))


def _merged(parts: Sequence[FeatureStatistics]) -> FeatureStatistics:
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.merge(part)
    return whole


def _pack(name: str, one: FeatureStatistics) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{key}": torch.as_tensor(np.asarray(value)) for key, value in asdict(one).items()
    }


def _unpack(name: str, kept: Mapping[str, torch.Tensor]) -> FeatureStatistics:
    values = {
        key.removeprefix(f"{name}."): value.numpy()
        for key, value in kept.items()
        if key.startswith(f"{name}.")
    }
    return FeatureStatistics(count=int(values.pop("count")), **values)
