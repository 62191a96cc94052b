"""Plots of results: every value with its interval and baselines, and curves."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from math import ceil, isfinite
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmdisco.evaluation.metrics.result import MetricResult, Outcome
from mmdisco.io.files import replacing

ACROSS: Final = 4
COLOURS: Final = ("#1f6fb2", "#c4572c")
LINES: Final = ("reference", "shuffled", "shuffled against shuffled")  # baselines that are drawn

Sets = Mapping[str, Sequence[Outcome]]  # results by name of the set of clips


def draw_values(path: Path, sets: Sets) -> None:
    """Plot a panel per result with an interval, a point per set of clips; at least one.

    Raises:
        UserError: The file cannot be written.
    """
    found = _by_name(sets)
    shown = {
        name: own
        for name, own in found.items()
        if any(one.interval and isfinite(one.value) for one in own.values())
    }
    with _panels(path, len(shown), 1.35, 0.9) as panels:
        for panel, (name, own) in zip(panels, shown.items(), strict=True):
            _values(panel, name, own, list(sets))


def draw_curves(path: Path, sets: Sets) -> None:
    """Plot a panel per result with a curve, a line per set of clips; at least one.

    Raises:
        UserError: The file cannot be written.
    """
    shown = with_curves(sets)
    with _panels(path, len(shown), 2.5) as panels:
        for panel, (name, own) in zip(panels, shown.items(), strict=True):
            for (which, one), colour in zip(own.items(), COLOURS, strict=False):
                assert one.curve is not None
                points = one.curve.points
                panel.plot(list(points), list(points.values()), ".-", color=colour, label=which)
                panel.set_xlabel(one.curve.axis, fontsize=8)
            panel.set_title(name, fontsize=8)
            panel.tick_params(labelsize=7)
            panel.grid(linewidth=0.3)
            if len(own) > 1:
                panel.legend(fontsize=7)


def with_curves(sets: Sets) -> dict[str, dict[str, MetricResult]]:
    """Select results with a curve of two points or more, by name and set of clips."""
    found = {
        name: {
            which: one
            for which, one in own.items()
            if one.curve is not None and len(one.curve.points) > 1
        }
        for name, own in _by_name(sets).items()
    }
    return {name: own for name, own in found.items() if own}


def _by_name(sets: Sets) -> dict[str, dict[str, MetricResult]]:
    found: dict[str, dict[str, MetricResult]] = {}
    for which, outcomes in sets.items():
        for one in outcomes:
            if isinstance(one, MetricResult):
                found.setdefault(one.name, {})[which] = one
    return found


def _values(panel: Axes, name: str, own: Mapping[str, MetricResult], order: Sequence[str]) -> None:
    for place, which in enumerate(order):
        one = own.get(which)
        if one is None or one.interval is None or not isfinite(one.value):
            continue
        low, high = one.interval.low, one.interval.high
        panel.plot([low, high], [place, place], color=COLOURS[place % 2], linewidth=1.5)
        panel.plot([one.value], [place], "o", color=COLOURS[place % 2])
    first = next(iter(own.values()))
    for line, style in zip(LINES, ("-", "--", "--"), strict=True):
        value = first.baseline.get(line)
        if value is not None and isfinite(value):
            panel.axvline(value, color="grey", linewidth=0.9, linestyle=style)
    better = {True: " (higher)", False: " (lower)", None: ""}[first.higher_is_better]
    panel.set_title(f"{name}{better}", fontsize=7)
    panel.set_yticks(range(len(order)), order, fontsize=7)
    panel.set_ylim(len(order) - 0.5, -0.5)
    panel.tick_params(axis="x", labelsize=7)


@contextmanager
def _panels(path: Path, count: int, height: float, margin: float = 0.0) -> Generator[list[Axes]]:
    """Yield the panels of a figure that is written at the end, ``height`` inches each."""
    rows = max(1, ceil(count / ACROSS))
    figure = Figure(figsize=(3.2 * ACROSS, margin + height * rows), layout="constrained")
    axes = list(figure.subplots(rows, ACROSS, squeeze=False).flatten())
    for panel in axes[count:]:
        panel.set_axis_off()
    yield axes[:count]
    with replacing(path) as beside:
        figure.savefig(beside, dpi=110, metadata={"Software": None})
