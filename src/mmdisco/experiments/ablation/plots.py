"""Plot of a study: mean ± sd over the seeds, a panel per metric."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmdisco.evaluation.metrics.result import UNGUIDED
from mmdisco.experiments.ablation.results import Results
from mmdisco.experiments.ablation.study import Arm
from mmdisco.io.files import replacing
from mmdisco.io.reports import MeanStd

PANELS: Final = 12
ACROSS: Final = 4


def draw(path: Path, results: Results) -> None:
    """Write a PNG.

    Raises:
        UserError: The file cannot be written.
    """
    shown = list(results.columns.items())[:PANELS]
    rows = ceil(len(shown) / ACROSS)
    height = 3.2 if results.study.axis else 1 + 0.3 * len(results.arms)
    figure = Figure(figsize=(4.2 * min(ACROSS, len(shown)), height * rows), layout="constrained")
    axes = figure.subplots(rows, min(ACROSS, len(shown)), squeeze=False).flatten()
    for place, (own, (key, heading)) in enumerate(zip(axes, shown, strict=False)):
        spreads = {arm: one[key] for arm, one in results.figures.items() if key in one}
        if results.study.axis:
            _curves(own, results.arms, spreads, results.study.axis)
        else:
            _points(own, list(results.figures), spreads, labelled=place % ACROSS == 0)
        if UNGUIDED in spreads:
            line = own.axhline if results.study.axis else own.axvline
            line(spreads[UNGUIDED].mean, color="grey", linewidth=0.9, linestyle="--")
        own.set_title(heading, fontsize=10)
    for own in axes[len(shown) :]:
        own.set_axis_off()
    with replacing(path) as beside:
        figure.savefig(beside, dpi=100, metadata={"Software": None})


def _curves(axes: Axes, arms: Sequence[Arm], spreads: dict[str, MeanStd], label: str) -> None:
    series = dict.fromkeys(arm.series for arm in arms if arm.x is not None)
    for name in series:
        own = [arm for arm in arms if arm.series == name and arm.x is not None]
        points = sorted((arm.x or 0.0, spreads[arm.name]) for arm in own if arm.name in spreads)
        axes.errorbar(
            [x for x, _ in points],
            [one.mean for _, one in points],
            [one.deviation for _, one in points],
            fmt=".-",
            capsize=3,
            label=name,
        )
    axes.set_xlabel(label)
    if len(series) > 1:
        axes.legend(fontsize=7)


def _points(
    axes: Axes, names: Sequence[str], spreads: dict[str, MeanStd], *, labelled: bool
) -> None:
    """Plot one line per arm, the same in all panels, whichever arms have the metric."""
    there = [(place, spreads[name]) for place, name in enumerate(names) if name in spreads]
    axes.errorbar(
        [one.mean for _, one in there],
        [place for place, _ in there],
        xerr=[one.deviation for _, one in there],
        fmt="o",
        capsize=3,
    )
    axes.set_yticks(range(len(names)), names if labelled else [""] * len(names))
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="x", linewidth=0.3)
