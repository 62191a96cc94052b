"""Evaluation of the embedded pair: cells in processes, each kept when it is done, and tables."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from typing_extensions import override

from mmdisco.adapters.miniature import PACKAGED
from mmdisco.core.av import AV
from mmdisco.discriminators.distilled import read_distilled
from mmdisco.errors import UserError
from mmdisco.evaluation.extract import Watch, unwatched
from mmdisco.evaluation.metrics.distances import FeatureStatistics
from mmdisco.evaluation.metrics.result import gap_closed
from mmdisco.evaluation.metrics.sounding_objects.feature_networks import FEATURES
from mmdisco.experiments.grid import MeasuredCell, run
from mmdisco.experiments.miniature.evaluation import (
    REFERENCE_CLIPS,
    Bench,
    MiniatureRow,
    joined,
    rows,
)
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.io.files import plain, read_tensors, write_json, write_tensors, write_text
from mmdisco.io.reports import MeanStd, markdown_table, versions

FIGURES: Final = ("event_f1", "material", "size")
REAL: Final = "real pairs through the autoencoders"


def summary(cells: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, dict[str, MeanStd]]:
    """Summarize every metric of every row.

    Args:
        cells: Records of each row, one per seed; among the rows is ``REAL``.
    """
    real = cells[REAL][0]["paired"]
    return {name: _row(records, real) for name, records in cells.items()}


def _row(records: Sequence[Mapping[str, Any]], real: Mapping[str, Any]) -> dict[str, MeanStd]:
    each = [flat_metrics(record, real) for record in records]
    return {name: MeanStd.of([one[name] for one in each]) for name in each[0]}


def flat_metrics(record: Mapping[str, Any], real: Mapping[str, Any]) -> dict[str, float]:
    """List every metric of one cell by a name of its own; NaN where it has no value.

    Args:
        record: Record of the cell.
        real: ``paired`` metrics of real clips, to which gaps are measured.
    """
    found: dict[str, float] = {}
    for pairing in ("paired", "recombined", "shuffled"):
        for name, share in record[pairing].items():
            found[f"{pairing} {name}"] = _number(share["value"])
    for name in FIGURES:
        found[f"gap {name}"] = gap_closed(
            found[f"paired {name}"], found[f"recombined {name}"], _number(real[name]["value"])
        )
    for name in ("frechet_video", "frechet_audio"):
        if name in record:
            found[name] = _number(record[name])
    return found


def _number(value: float | None) -> float:
    """Convert null to NaN, which JSON lacks: a mean over no clips."""
    return float("nan") if value is None else value


_COLUMNS: Final = (
    ("event F1", "paired event_f1"),
    ("recombined", "recombined event_f1"),
    ("gap closed", "gap event_f1"),
    ("F1 ±0.1 s", "paired event_f1_loose"),
    ("material", "paired material"),
    ("recombined", "recombined material"),
    ("gap closed", "gap material"),
    ("size", "paired size"),
    ("recombined", "recombined size"),
    ("gap closed", "gap size"),
    ("Fréchet video", "frechet_video"),
    ("Fréchet audio", "frechet_audio"),
)
_FAITHFUL: Final = (
    ("kind seen as named", "paired caption_kind"),
    ("kind heard", "paired caption_kind_heard"),
    ("colour seen as named", "paired caption_colour"),
    ("size seen as named", "paired caption_size"),
    ("count seen as named", "paired caption_count"),
    ("kind seen = heard", "paired kind"),
    ("events seen a clip", "paired events_seen"),
    ("events heard a clip", "paired events_heard"),
)


def tables(figures: Mapping[str, Mapping[str, MeanStd]]) -> str:
    """Format two Markdown tables: alignment, and faithfulness to caption and data."""
    return f"{_table(figures, _COLUMNS)}\n\n{_table(figures, _FAITHFUL)}"


def _table(figures: Mapping[str, Mapping[str, MeanStd]], columns: Sequence[tuple[str, str]]) -> str:
    rows = [[name, *(str(row[key]) for _, key in columns)] for name, row in figures.items()]
    return markdown_table(["", *(title for title, _ in columns)], rows)


@dataclass(frozen=True)
class KeptMiniatureCell(MeasuredCell):
    """One cell to evaluate.

    Attributes:
        weights: Folder of the pair.
        row: ``None`` for real pairs through the autoencoders.
        seed: Seed of the sampling noise.
        clips: Number of clips.
    """

    weights: Path
    row: MiniatureRow | None
    seed: int
    clips: int

    @property
    def name_of_row(self) -> str:
        """Name of the row."""
        return self.row.name if self.row else REAL

    @property
    @override
    def label(self) -> str:
        return f"{self.name_of_row} seed{self.seed}"

    @property
    @override
    def settings(self) -> dict[str, Any]:
        return {
            "row": self._row(),
            "seed": self.seed,
            "clips": self.clips,
            "weights": MiniatureSystem(self.weights).config["sha256"],
        }

    @override
    def measure(self) -> dict[str, Any]:
        bench = Bench.load(MiniatureSystem(self.weights))
        clips = (
            bench.generated(self.row, self.seed, self.clips)
            if self.row
            else bench.reconstructed(self.clips)
        )
        cell = joined(list(bench.read(clips)))
        return cell.record(reference_of(self.out, self.weights), self.seed)

    def _row(self) -> dict[str, Any] | str:
        if self.row is None:
            return REAL
        record: dict[str, Any] = {**asdict(self.row), "task": self.row.task.__name__}
        # of other rows and other numbers of steps; the scale of this one is its joint scale
        few = ("few_steps", "few_steps_scheduler", "few_steps_scale")
        for unused in ("video_to_audio", "audio_to_video", *few):
            del record["sampling"][unused]
        if not record["smc_every"]:
            del record["smc_every"]
        if record.pop("distilled"):
            own = MiniatureSystem(self.weights).weight_hashes()[self.row.discriminator]
            record["distilled"] = read_distilled(self.weights, own)["sha256"]
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
    todo = [KeptMiniatureCell(out, folder, None, 0, clips)] + [
        KeptMiniatureCell(out, folder, row, seed, clips) for row in chosen for seed in range(seeds)
    ]
    return report(todo, jobs, watch)


def report(todo: Sequence[KeptMiniatureCell], jobs: int, watch: Watch = unwatched) -> str:
    """Evaluate the missing cells of ``todo``, then summarize all of them."""
    out, weights = todo[0].out, todo[0].weights
    reference_of(out, weights, watch)
    watch("cells", 0, sum(not job.done for job in todo))
    for _, done, total in run(todo, jobs):
        watch("cells", done, total)
    cells: dict[str, list[dict[str, Any]]] = {}
    for job in todo:
        cells.setdefault(job.name_of_row, []).append(job.results())
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


def _note(todo: Sequence[KeptMiniatureCell]) -> Mapping[str, Any]:
    return {
        "clips a row and seed": todo[0].clips,
        "seeds": sorted({job.seed for job in todo}),
        **versions("mmdisco", "torch", "diffusers", "numpy", "scipy"),
    }


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
        whole = AV(
            reduce(FeatureStatistics.merge, [part.audio for part in parts]),
            reduce(FeatureStatistics.merge, [part.video for part in parts]),
        )
        write_tensors(file, {**_pack("audio", whole.audio), **_pack("video", whole.video)}, {})
    kept = read_tensors(file)
    return AV(_unpack("audio", kept), _unpack("video", kept))


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
