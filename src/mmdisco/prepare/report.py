"""What was kept, and what was dropped and why, as one record."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from mmdisco.prepare.plan import Plan
from mmdisco.prepare.records import Outcome
from mmdisco.prepare.sources import PARTS

_FIGURES: Final = ("loudness", "peak", "motion", "brightness")


def report(
    plan: Plan, outcomes: Sequence[Outcome], notices: Callable[[str], Sequence[str]]
) -> dict[str, Any]:
    """Counts, figures, and every file and clip that was left out, with the reason.

    Args:
        plan: What was to be made.
        outcomes: What became of it.
        notices: What of a caption the models read otherwise than it is written.
    """
    clips = [(outcome.part, clip) for outcome in outcomes for clip in outcome.clips]
    kept = [(part, clip) for part, clip in clips if clip["kept"]]
    dropped = [clip for _, clip in clips if not clip["kept"]]
    said = [clip["said"] for _, clip in kept]
    return {
        "kept": {part: sum(one == part for one, _ in kept) for part in PARTS},
        "groups": {part: len({c["group"] for one, c in kept if one == part}) for part in PARTS},
        "dropped_clips": _counts(clip["reason"] for clip in dropped),
        "refused_files": _counts(one.fault.reason for one in plan.refused),
        "left_out_between_parts": plan.left_out,
        "captions": {
            "none": sum(not one for one in said),
            "not_understood": _counts(
                clip["said"] for _, clip in kept if clip["said"] and not clip["caption"]
            ),
            "understood_in_part": {
                one: {"clips": count, "notices": told}
                for one, count in _counts(filter(None, said)).items()
                if (told := list(notices(one)))
            },
            "different": len({clip["caption"] for _, clip in kept}),
        },
        "figures": {name: _spread([c["statistics"][name] for _, c in kept]) for name in _FIGURES},
        "files": [
            {"source": one.name, "reason": one.fault.reason, "detail": one.fault.detail}
            for one in plan.refused
        ],
        "clips": [
            {key: clip[key] for key in ("source", "start", "end", "reason", "detail")}
            for clip in dropped
        ],
    }


def in_words(summary: Mapping[str, Any]) -> list[str]:
    """The counts of a report, a line each."""
    kept = summary["kept"]
    lines = [f"kept {kept['train']} clips for training, {kept['validation']} for validation"]
    for key, what in (("dropped_clips", "clips dropped"), ("refused_files", "files refused")):
        lines += [f"{count} {what}: {reason}" for reason, count in summary[key].items()]
    if summary["left_out_between_parts"]:
        lines.append(f"{summary['left_out_between_parts']} clips left out between the parts")
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
    """Least, median and greatest."""
    ordered = sorted(values)
    return [ordered[0], ordered[len(ordered) // 2], ordered[-1]] if ordered else []
