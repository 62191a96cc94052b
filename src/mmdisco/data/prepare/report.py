"""Report of kept and dropped clips: a record for JSON, and an HTML page of counts and previews."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mmdisco.data.prepare.plan import PreparePlan, ShardOutcome
from mmdisco.data.prepare.sources import SPLITS
from mmdisco.io.files import write_text
from mmdisco.io.reports import render

_STATISTICS: Final = ("loudness", "peak", "motion", "brightness")


def report(
    plan: PreparePlan, outcomes: Sequence[ShardOutcome], notices: Callable[[str], Sequence[str]]
) -> dict[str, Any]:
    """Count clips, and list every skipped file and clip with the reason.

    Args:
        plan: Plan of the preparation.
        outcomes: Outcomes of its shards.
        notices: Returns the parts of a caption that the models ignore or replace.
    """
    clips = [(outcome.split, clip) for outcome in outcomes for clip in outcome.clips]
    kept = [(split, clip) for split, clip in clips if clip["kept"]]
    dropped = [clip for _, clip in clips if not clip["kept"]]
    captions = [clip["source_caption"] for _, clip in kept]
    return {
        "kept": {split: sum(one == split for one, _ in kept) for split in SPLITS},
        "groups": {split: len({c["group"] for one, c in kept if one == split}) for split in SPLITS},
        "dropped_clips": _counts(clip["reason"] for clip in dropped),
        "refused_files": _counts(one.reason.category for one in plan.refused),
        "left_out_between_splits": plan.left_out,
        "captions": {
            "none": sum(not one for one in captions),
            "not_understood": _counts(
                clip["source_caption"]
                for _, clip in kept
                if clip["source_caption"] and not clip["caption"]
            ),
            "understood_in_part": {
                one: {"clips": count, "notices": found}
                for one, count in _counts(filter(None, captions)).items()
                if (found := list(notices(one)))
            },
            "different": len({clip["caption"] for _, clip in kept}),
        },
        "statistics": {
            name: _spread([c["statistics"][name] for _, c in kept]) for name in _STATISTICS
        },
        "files": [
            {"source": one.name, "reason": one.reason.category, "detail": one.reason.detail}
            for one in plan.refused
        ],
        "clips": [
            {key: clip[key] for key in ("source", "start", "end", "reason", "detail")}
            for clip in dropped
        ],
    }


def summary_lines(summary: Mapping[str, Any]) -> list[str]:
    """Format the counts of a report, one line each."""
    kept = summary["kept"]
    lines = [f"kept {kept['train']} clips for training, {kept['validation']} for validation"]
    for key, what in (("dropped_clips", "clips dropped"), ("refused_files", "files refused")):
        lines += [f"{count} {what}: {reason}" for reason, count in summary[key].items()]
    if summary["left_out_between_splits"]:
        lines.append(f"{summary['left_out_between_splits']} clips left out between the splits")
    strange = summary["captions"]["not_understood"]
    if strange:
        lines.append(
            f"{sum(strange.values())} clips have captions that the models do not understand, which "
            "are encoded as empty"
        )
    partly = summary["captions"].get("understood_in_part", {})
    if partly:
        count = sum(one["clips"] for one in partly.values())
        first = next(iter(partly.values()))["notices"][0]
        lines.append(
            f"{count} clips have captions that the models do not take as they are; of the most "
            f"frequent one: {first}"
        )
    return lines


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items(), key=lambda pair: (-pair[1], pair[0])))


def _spread(values: list[float]) -> list[float]:
    """Return minimum, median and maximum."""
    ordered = sorted(values)
    return [ordered[0], ordered[len(ordered) // 2], ordered[-1]] if ordered else []


_MOST_KEPT: Final = 120
_MOST_DROPPED: Final = 40  # per reason
_MOST_FILES: Final = 1000


def write_page(path: Path, summary: Mapping[str, Any], outcomes: Sequence[ShardOutcome]) -> None:
    """Write a self-contained HTML page."""
    shown = [(one.split, clip) for one in outcomes for clip in one.clips if "thumbnail" in clip]
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
    page = render(
        "prepare.html",
        title="Prepared clips",
        lines=summary_lines(summary),
        sections=sections,
        rows=rows,
        more=len(left_out) - len(rows),
    )
    write_text(path, page)
