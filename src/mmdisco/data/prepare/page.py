"""Report of a preparation as an HTML page: clips that play, counts, histograms and previews."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from mmdisco.data.prepare.plan import ShardOutcome
from mmdisco.data.prepare.report import summary_lines
from mmdisco.io.files import write_text
from mmdisco.io.reports import render
from mmdisco.media.reconstruction import LEAST_VARIANCE, MOST_MEL_DISTANCE

_MOST_KEPT: Final = 120
_MOST_DROPPED: Final = 40  # per reason
_MOST_FILES: Final = 1000
_MOST_CAPTIONS: Final = 20
_HEIGHT: Final = 60  # of the longest bar, in units of the picture


def write_page(path: Path, summary: Mapping[str, Any], outcomes: Sequence[ShardOutcome]) -> None:
    """Write a self-contained HTML page, which needs no network."""
    clips = [(one.split, clip) for one in outcomes for clip in one.clips]
    shown = [(split, clip) for split, clip in clips if "thumbnail" in clip]
    kept = [(split, clip) for split, clip in shown if clip["kept"]]
    step = max(1, -(-len(kept) // _MOST_KEPT))
    sections = [("Kept", kept[::step])]
    for reason in summary["dropped_clips"]:
        dropped = [(split, clip) for split, clip in shown if clip.get("reason") == reason]
        sections.append((f"Dropped: {reason}", dropped[:_MOST_DROPPED]))
    left_out = [*summary["files"], *summary["clips"]]
    rows = [
        (
            one["source"],
            f"{one['start']:g} s" if "start" in one else "",
            one["reason"],
            one["detail"],
        )
        for one in left_out[:_MOST_FILES]
    ]
    remarks = summary["reconstruction"]["remarks"]
    page = render(
        "prepare.html",
        title="Prepared clips",
        remarks=remarks,
        lines=[line for line in summary_lines(summary) if line not in remarks],
        hours=_hours(summary),
        histograms={
            name: _bars(one) for name, one in summary["histograms"].items() if one["counts"]
        },
        captions=_captions(clips),
        measures=_measures(summary["reconstruction"]),
        played=[clip for _, clip in clips if "decoded" in clip.get("reconstruction", {})],
        sections=sections,
        rows=rows,
        more=len(left_out) - len(rows),
    )
    write_text(path, page)


def _hours(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """List what was kept and dropped, with clips or files and the hours of its clips."""
    hours = summary["hours"]
    rows = [("kept", f"{sum(summary['kept'].values())} clips", f"{hours['kept']:.3g}")]
    rows += [
        (f"dropped: {reason}", f"{count} clips", f"{hours['dropped'][reason]:.3g}")
        for reason, count in summary["dropped_clips"].items()
    ]
    refused = summary["refused_files"].items()
    return rows + [(f"refused: {reason}", f"{count} files", "") for reason, count in refused]


def _bars(histogram: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Lay out bars of a histogram, heights in units of the picture."""
    edges, counts = histogram["edges"], histogram["counts"]
    most = max(counts)
    # edges of whole numbers lie between these
    half = 0.5 if edges[0] % 1 == edges[-1] % 1 == 0.5 else 0.0
    return {
        "bars": [
            {
                "height": max(1, round(_HEIGHT * count / most)) if count else 0,
                "said": f"{low:.4g} to {high:.4g}: {count}",
            }
            for (low, high), count in zip(pairwise(edges), counts, strict=True)
        ],
        "most": most,
        "first": f"{edges[0] + half:.3g}",
        "last": f"{edges[-1] - half:.3g}",
    }


def _captions(clips: Sequence[tuple[str, Mapping[str, Any]]]) -> list[tuple[str, str, str]]:
    """List the most frequent captions with their clips, and what is encoded of each."""
    found: dict[str, tuple[int, str]] = {}
    for _, clip in clips:
        if clip["kept"] and clip["source_caption"]:
            count, _ = found.get(clip["source_caption"], (0, ""))
            found[clip["source_caption"]] = count + 1, clip["caption"] or "nothing"
    order = sorted(found.items(), key=lambda pair: (-pair[1][0], pair[0]))[:_MOST_CAPTIONS]
    return [(one, f"{count}", "" if text == one else text) for one, (count, text) in order]


def _measures(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """List minimum, median and maximum of each measure, and the limit of what is enough."""
    named = (
        ("psnr", "picture: PSNR, dB (higher is better)", ""),
        ("variance", "picture: share of its variance (higher)", f"at least {LEAST_VARIANCE:g}"),
        ("mel_distance", "sound: log-mel distance, dB (lower)", f"at most {MOST_MEL_DISTANCE:g}"),
        ("onset_f1", "sound: onsets within 50 ms, F1 (higher)", ""),
    )
    return [
        (said, *(f"{value:.3g}" for value in found[name]), limit)
        for name, said, limit in named
        if found[name]
    ]
