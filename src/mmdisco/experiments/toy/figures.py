"""Two figures of the study: the effect of guidance, and what each loss learns."""

from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from torch import Tensor

from mmdisco.experiments.toy.grid import KeptToyCell
from mmdisco.experiments.toy.measure import EXTENT, total_variation
from mmdisco.experiments.toy.problems import problem
from mmdisco.experiments.toy.run import ToyCell
from mmdisco.io.files import read_tensors, replacing

CAPTIONS = {
    "unguided": "unguided baseline",
    "exact": "exact ratio",
    "disc": "cross-entropy",
    "denoise": "denoising",
    "both": "both losses",
}
SETTINGS = {"ind": "in distribution", "ood": "out of distribution"}


def draw_guidance(out: Path, cells: Sequence[ToyCell]) -> Path | None:
    """Plot data, unguided baseline and guided samples of each problem, IND and OOD."""
    return _grid(out, cells, "guidance.png", ("unguided", "both"))


def draw_losses(out: Path, cells: Sequence[ToyCell]) -> Path | None:
    """Plot the exact log ratio and the one learnt by each loss for each problem, IND and OOD."""
    return _grid(out, cells, "losses.png", ("exact", "disc", "denoise", "both"))


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
                points = read_tensors(KeptToyCell(cell, out).points_file)["points"]
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
