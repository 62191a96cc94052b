"""Report of an evaluation, with all that results depend on.

It is written as Markdown, and as a self-contained HTML page with curves and clips that play.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mmdisco.evaluation.clips import ClipFiles, UnreadableClip, read_item
from mmdisco.evaluation.evaluate import Evaluation
from mmdisco.evaluation.metrics.result import UNGUIDED, MetricResult, Outcome, Skipped
from mmdisco.evaluation.plots import draw_curves, draw_values, with_curves
from mmdisco.io.files import scratch
from mmdisco.io.reports import data_uri, markdown_table, render
from mmdisco.media.plots import draw_clips
from mmdisco.media.read import ReadSpec
from mmdisco.media.write import write_clip
from mmdisco.training.diagnostics.report import Diagnostics, draw_diagnostics

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
