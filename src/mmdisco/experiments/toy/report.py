"""Report of a study: ``results.json`` with everything, ``table.md`` to read, and two figures."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from torch import Tensor

from mmdisco.evaluation.metrics.result import gap_closed
from mmdisco.experiments.toy.evaluation import EXTENT, total_variation
from mmdisco.experiments.toy.problems import problem
from mmdisco.experiments.toy.run import CONTRASTIVE, LOSSES, KeptToyCell, ToyCell, ToyRecipe
from mmdisco.io.files import read_tensors, replacing, write_json, write_text
from mmdisco.io.reports import MeanStd, markdown_table, versions

Row = dict[str, Any]
PLACE: tuple[str, ...] = ("problem", "setting", "task", "scheduler", "steps", "grid", "resamples")
MEASURES = ("tv", "agreement", "gap", "sw2", "r2")
HEADINGS = {
    "tv": "TV",
    "agreement": "class agreement",
    "gap": "gap closed",
    "sw2": "SW2",
    "r2": "R² of ∇h",
}


def with_gap(rows: Sequence[Row]) -> list[Row]:
    """Add ``gap``: the share of the gap from unguided to exact log ratio, same place and seed.

    In total variation for planes, in class agreement for vectors.
    """
    reference: dict[tuple[Any, ...], float] = {
        (*_place(row), row["seed"], row["loss"]): _figure(row) for row in rows
    }

    def gap(row: Row) -> Row:
        ends = [reference.get((*_place(row), row["seed"], name)) for name in ("unguided", "exact")]
        if None in ends or row["loss"] in ("unguided", "exact"):
            return row
        return {**row, "gap": gap_closed(_figure(row), ends[0], ends[1])}  # type: ignore[arg-type]

    return [gap(row) for row in rows]


def table(rows: Iterable[Row]) -> str:
    """Format a Markdown table: one line per place and loss, mean ± sd over the seeds."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((*_place(row), row["loss"]), []).append(row)
    shown = [
        name for name in MEASURES if any(name in row for own in groups.values() for row in own)
    ]
    several = {name for i, name in enumerate(PLACE) if len({place[i] for place in groups}) > 1}
    columns = [name for name in PLACE if name in several or name == "problem"]
    head = [*columns, "guided by", "n", *(HEADINGS[name] for name in shown)]
    lines: list[list[str]] = []
    for (*place, loss), own in groups.items():
        named = dict(zip(PLACE, place, strict=True))
        found = [[row[name] for row in own if name in row] for name in shown]
        cells = [str(MeanStd.of(values)) if values else "" for values in found]
        lines.append([*(str(named[name]) for name in columns), loss, str(len(own)), *cells])
    return markdown_table(head, lines) + "\n"


def write_report(
    out: Path, title: str, recipe: ToyRecipe, rows: Sequence[Row], seconds: float
) -> None:
    """Write ``results.json`` and ``table.md``.

    Args:
        out: Folder of the study.
        title: Title of one line.
        recipe: Training and sampling of every cell.
        rows: One row per cell and evaluation.
        seconds: Wall time of this run, without earlier runs.
    """
    complete = with_gap(rows)
    record = {
        "title": title,
        "versions": versions("mmdisco", "torch", "diffusers", "numpy"),
        "recipe": recipe.model_dump(mode="json", exclude={"evaluations"}),
        "seconds": round(seconds, 1),
        "rows": complete,
    }
    write_json(out / "results.json", record)
    write_text(out / "table.md", markdown(record))


def markdown(record: Row) -> str:
    """Format the page of a study from its record."""
    recipe, made_with = ToyRecipe.of_tree(record["recipe"]).flat(), record["versions"]
    del recipe["evaluations"]
    described = ", ".join(f"{key} {value}" for key, value in recipe.items())
    with_versions = ", ".join(f"{key} {value}" for key, value in made_with.items())
    seeds = sorted({row["seed"] for row in record["rows"]})
    return (
        f"# {record['title']}\n\n{table(record['rows'])}\n"
        f"Mean ± sd over the seeds {', '.join(map(str, seeds))} (n of them). "
        f"{recipe['samples']} samples each. TV: total variation of a 24 × 24 histogram on "
        "[−3, 3]² against 400,000 true samples. SW2: sliced 2-Wasserstein. R²: of the guidance "
        "gradient in units of ε, over the path. Gap closed: share of the gap from the unguided "
        f"baseline to the exact log ratio.\n\nRecipe: {described}.\n\nVersions: {with_versions}.\n"
    )


def _place(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in PLACE)


def _figure(row: Row) -> float:
    return row["tv"] if "tv" in row else row["agreement"]


CAPTIONS = {
    "unguided": "unguided baseline",
    "exact": "exact ratio",
    "disc": "cross-entropy",
    "denoise": "denoising",
    "both": "both losses",
    **{name: f"and contrast, {weight:g}" for name, weight in CONTRASTIVE.items()},
}
SETTINGS = {"ind": "in distribution", "ood": "out of distribution"}


def draw_guidance(out: Path, cells: Sequence[ToyCell]) -> Path | None:
    """Plot data, unguided baseline and guided samples of each problem, IND and OOD."""
    return _grid(out, cells, "guidance.png", ("unguided", "both"))


def draw_losses(out: Path, cells: Sequence[ToyCell]) -> Path | None:
    """Plot the exact log ratio and the one learnt by each loss for each problem, IND and OOD."""
    return _grid(out, cells, "losses.png", ("exact", *LOSSES))


def _grid(out: Path, cells: Sequence[ToyCell], name: str, losses: tuple[str, ...]) -> Path | None:
    first = {
        (cell.problem, cell.setting, cell.loss): cell
        for cell in cells
        if cell.seed == 0 and problem(cell.problem, cell.setting).width == 1
    }
    problems = list(dict.fromkeys(key[0] for key in first))
    columns = [
        (setting, loss) for setting in SETTINGS for loss in losses if _any(first, setting, loss)
    ]
    if not problems or not columns:
        return None
    figure = Figure(figsize=(1.7 * (len(columns) + 1), 1.75 * len(problems) + 0.5))
    axes = figure.subplots(len(problems), len(columns) + 1, squeeze=False)
    for row, key in zip(axes, problems, strict=True):
        truth = problem(key, "ind").joint.sample_evenly(10_000, torch.Generator().manual_seed(0))
        _panel(row[0], truth, "")
        row[0].set_ylabel(key)
        for axis, (setting, loss) in zip(row[1:], columns, strict=True):
            axis.set_axis_off()
            cell = first.get((key, setting, loss))
            if cell is not None:
                points = read_tensors(KeptToyCell(out, cell).points_file)["points"]
                distance = total_variation(problem(key, setting), points)
                _panel(axis, points, f"TV {distance:.3f}")
    axes[0][0].set_title("data", fontsize=9)
    for axis, (setting, loss) in zip(axes[0][1:], columns, strict=True):
        axis.set_title(f"{CAPTIONS[loss]}\n{SETTINGS[setting]}", fontsize=8)
    figure.tight_layout(pad=0.4)
    path = out / name
    with replacing(path) as beside:
        figure.savefig(beside, dpi=110)
    return path


def _any(first: dict[tuple[str, str, str], ToyCell], setting: str, loss: str) -> bool:
    return any(key[1:] == (setting, loss) for key in first)


def _panel(axis: Axes, points: Tensor, note: str) -> None:
    x, y = points.double().T.numpy()
    axis.set_axis_on()
    axis.hist2d(
        x,
        y,
        bins=96,
        range=[[-EXTENT, EXTENT]] * 2,
        cmap="magma",
        norm=PowerNorm(0.5),
    )
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_aspect("equal")
    axis.text(0.03, 0.03, note, color="white", fontsize=7, transform=axis.transAxes)
