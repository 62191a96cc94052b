"""Report of an evaluation, with all that results depend on.

It is written as Markdown, and as a self-contained HTML page with clips that play and plots: every
value with its interval and baselines, and curves.
"""

import math
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from math import ceil, isfinite
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmdisco.evaluation.clips import ClipFiles, UnreadableClip, read_item
from mmdisco.evaluation.evaluate import Evaluation
from mmdisco.evaluation.metrics.result import UNGUIDED, MetricResult, Outcome, Skipped
from mmdisco.io.files import replacing, scratch
from mmdisco.io.reports import data_uri, markdown_table, render
from mmdisco.media.plots import draw_clips
from mmdisco.media.read import ReadSpec
from mmdisco.media.write import write_clip
from mmdisco.training.diagnostics.report import Diagnostics, draw_diagnostics

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


HEADER = ("metric", "better", "value", "95 % interval", "clips", "against", "notes")


def markdown(evaluation: Evaluation) -> str:
    """Format the whole report without clips."""
    counts = ", ".join(f"{len(found)} {name}" for name, found in evaluation.clips.items())
    extractors = [(name, f"`{mark}`", how) for name, mark, how in extractor_rows(evaluation)]
    issues = issue_rows(evaluation)
    parts = [
        markdown_table(HEADER, map(row, evaluation.outcomes)),
        f"Clips: {counts}; {evaluation.form}.",
        markdown_table(("extractor", "version", "preprocessing"), extractors),
        *([markdown_table(("clip", "issue", "measured"), issues)] if issues else []),
        ", ".join(f"{name} {value}" for name, value in evaluation.conditions.items()),
    ]
    return "\n\n".join(parts)


def extractor_rows(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    """List name, version and preprocessing of each extractor."""
    return [(one.name, one.version, one.preprocessing) for one in evaluation.tools.extractors]


def issue_rows(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    """List each clip with an issue, and whether it is measured."""
    return [(one.clip, one.what, "yes" if one.kept else "no") for one in evaluation.problems]


def row(outcome: Outcome) -> tuple[str, ...]:
    """Format the cells of one outcome, under ``HEADER``."""
    if isinstance(outcome, Skipped):
        return (outcome.name, "", "not computed", "", "", "", f"needs {outcome.needs}")
    ends = outcome.interval
    return (
        outcome.name,
        {True: "higher", False: "lower", None: ""}[outcome.higher_is_better],
        number(outcome.value),
        f"{number(ends.low)} to {number(ends.high)}" if ends else "",
        str(outcome.count),
        ", ".join(f"{name} {number(value)}" for name, value in outcome.baseline.items()),
        outcome.notes,
    )


def number(value: float) -> str:
    """Format four digits; an en dash for what is not a finite number."""
    return f"{value:.4g}" if math.isfinite(value) else "–"


SHOWN: Final = 4  # clips per folder
_WIDE: Final = 256  # pixels; tiny clips are magnified to about this
_ORDER: Final = ("reference", UNGUIDED, "generated")


def page(
    evaluation: Evaluation,
    selection: ReadSpec,
    diagnostics: Diagnostics | None = None,
    shown: int = SHOWN,
) -> str:
    """Render the page, with ``shown`` clips of each folder, read as ``selection`` defines.

    ``diagnostics`` are those of the guiding discriminator, if known.
    """
    return render(
        "evaluation.html",
        title=f"Evaluation of {evaluation.conditions['generated']}",
        counts=_counts(evaluation),
        header=HEADER,
        rows=[row(one) for one in evaluation.outcomes],
        problems=issue_rows(evaluation),
        extractors=extractor_rows(evaluation),
        conditions=evaluation.conditions.items(),
        **_plots(evaluation, diagnostics),
        **clips_side_by_side(evaluation.clips, selection, shown),
    )


def clips_side_by_side(
    folders: Mapping[str, Sequence[ClipFiles]], selection: ReadSpec, shown: int
) -> dict[str, Any]:
    """Lay out a column per folder and a row for each of ``shown`` clips.

    Clips of one name share a row; if the folders have too few names in common, the first clips of
    each folder are shown.
    """
    columns = {name: folders[name] for name in (*_ORDER, *folders) if name in folders}
    common = set.intersection(*({one.name for one in items} for items in columns.values()))
    alike = len(columns) > 1 and len(common) >= min(shown, *map(len, columns.values()))
    if alike:
        columns = {
            name: [one for one in items if one.name in common] for name, items in columns.items()
        }
    clips = [
        _clip(items[row], selection) if row < len(items) else None
        for row in range(min(shown, max(map(len, columns.values()))))
        for items in columns.values()
    ]
    return {"columns": columns, "aligned": alike or len(columns) < 2, "clips": clips}


def _clip(item: ClipFiles, selection: ReadSpec) -> dict[str, str | None]:
    """Encode one clip and its frames, waveform and spectrogram, or give the reason without it."""
    try:
        clip = read_item(item, selection)
    except UnreadableClip as error:  # the file changed since it was measured
        return {"name": item.name, "error": str(error)}
    with scratch() as folder:
        video, image = folder / "clip.mp4", folder / "clip.png"
        write_clip(video, clip, magnify=max(1, _WIDE // clip.video.frames.shape[2]))
        draw_clips(image, {"": clip})
        return {
            "name": item.name,
            "error": None,
            "prompt": item.prompt,
            "video": data_uri(video),
            "image": data_uri(image),
        }


def _counts(evaluation: Evaluation) -> str:
    counts = ", ".join(f"{len(found)} {name}" for name, found in evaluation.clips.items())
    left_out = sum(not one.kept for one in evaluation.problems)
    said = f"; {left_out} files left out, named below" if left_out else ""
    return f"{counts} clips of {evaluation.form}{said}."


def _plots(evaluation: Evaluation, diagnostics: Diagnostics | None) -> dict[str, Any]:
    """Draw values, curves and diagnostics; None where there are none."""
    sets = {"generated": evaluation.outcomes}
    if evaluation.beside:
        sets[UNGUIDED] = evaluation.beside
    found: dict[str, Any] = {"values": None, "curves": None, "diagnostics": None}
    with scratch() as folder:
        picture = folder / "picture.png"
        if any(isinstance(one, MetricResult) for one in evaluation.outcomes):
            draw_values(picture, sets)
            found["values"] = data_uri(picture)
        if with_curves(sets):
            draw_curves(picture, sets)
            found["curves"] = data_uri(picture)
        if diagnostics is not None:
            draw_diagnostics(picture, diagnostics)
            found["diagnostics"] = data_uri(picture)
            rows = [(name, number(value)) for name, value in diagnostics.summary().items()]
            found["diagnostics_rows"] = rows
    return found
