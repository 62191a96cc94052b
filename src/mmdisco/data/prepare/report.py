"""Report of kept and dropped clips: a record for JSON, and its lines for a terminal."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from mmdisco.data.prepare.encode import ShardEncoder
from mmdisco.data.prepare.plan import PreparePlan, ShardOutcome
from mmdisco.data.prepare.sources import SPLITS
from mmdisco.media.reconstruction import picture_remark, sound_remark

_STATISTICS: Final = ("loudness", "peak", "motion", "brightness")
_MEASURES: Final = ("psnr", "variance", "mel_distance", "onset_f1")
_BARS: Final = 20  # of a histogram

Clip = Mapping[str, Any]


def report(
    plan: PreparePlan, outcomes: Sequence[ShardOutcome], encoder: ShardEncoder
) -> dict[str, Any]:
    """Count clips, and list every skipped file and clip with the reason.

    Args:
        plan: Plan of the preparation.
        outcomes: Outcomes of its shards.
        encoder: Encoder of the clips, which knows what its models read of a caption.
    """
    clips = [(outcome.split, clip) for outcome in outcomes for clip in outcome.clips]
    kept = [(split, clip) for split, clip in clips if clip["kept"]]
    dropped = [clip for _, clip in clips if not clip["kept"]]
    own = [clip for _, clip in kept]
    reasons = _counts(clip["reason"] for clip in dropped)
    return {
        "kept": {split: sum(one == split for one, _ in kept) for split in SPLITS},
        "groups": {split: len({c["group"] for one, c in kept if one == split}) for split in SPLITS},
        "dropped_clips": reasons,
        "refused_files": _counts(one.reason.category for one in plan.refused),
        "left_out_between_splits": plan.left_out,
        "hours": {
            "kept": _hours(own),
            "dropped": {
                one: _hours(clip for clip in dropped if clip["reason"] == one) for one in reasons
            },
        },
        "captions": _captions(own, encoder),
        "reconstruction": _reconstruction(own),
        "statistics": {name: _spread([c["statistics"][name] for c in own]) for name in _STATISTICS},
        "histograms": {
            "file length, s": _histogram(
                list({one.path: one.lasts for one in plan.clip_groups if one.lasts}.values())
            ),
            "loudness, dB": _histogram([clip["statistics"]["loudness"] for clip in own]),
            "words of a caption": _histogram(
                [len(clip["source_caption"].split()) for clip in own if clip["source_caption"]]
            ),
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


def _captions(kept: Sequence[Clip], encoder: ShardEncoder) -> dict[str, Any]:
    captions = [clip["source_caption"] for clip in kept]
    given = _counts(filter(None, captions))
    return {
        "none": sum(not one for one in captions),
        "not_understood": _counts(
            clip["source_caption"]
            for clip in kept
            if clip["source_caption"] and not clip["caption"]
        ),
        "understood_in_part": {
            one: {"clips": count, "notices": found}
            for one, count in given.items()
            if (found := list(encoder.notices(one)))
        },
        "vocabulary": _vocabulary(given, encoder),
        "different": len({clip["caption"] for clip in kept}),
    }


def _vocabulary(captions: Mapping[str, int], encoder: ShardEncoder) -> dict[str, int] | None:
    """Count what models with a vocabulary know of captions; None for models that read any text."""
    counted = {one: encoder.known_words(one) for one in captions}
    read = [(captions[one], *words) for one, words in counted.items() if words is not None]
    if not read:
        return None
    return {
        "whole": sum(clips for clips, known, words in read if known == words),
        "part": sum(clips for clips, known, words in read if 0 < known < words),
        "nothing": sum(clips for clips, known, _ in read if known == 0),
        "known_words": sum(clips * known for clips, known, _ in read),
        "words": sum(clips * words for clips, _, words in read),
    }


def _reconstruction(kept: Sequence[Clip]) -> dict[str, Any]:
    """Summarize what the models keep of the clips that were decoded again."""
    found = [clip["reconstruction"] for clip in kept if "reconstruction" in clip]
    measured = [one for one in found if "failed" not in one]
    values = {
        name: _spread([one[name] for one in measured if one[name] is not None])
        for name in _MEASURES
    }
    remarks: list[str] = []
    if measured:
        picture = picture_remark(values["variance"][1])
        sound = sound_remark(values["mel_distance"][1])
        remarks = [line for line in (picture, sound) if line]
    return {
        "clips": len(measured),
        **values,
        "failed": sorted({one["failed"] for one in found if "failed" in one}),
        "remarks": remarks,
    }


def _hours(clips: Iterable[Clip]) -> float:
    """Add up the time that clips cover, overlaps once, in hours."""
    spans: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for clip in clips:
        spans[clip["source"]].append((clip["start"], clip["end"]))
    seconds = 0.0
    for own in spans.values():
        covered = -1.0
        for start, end in sorted(own):
            seconds += max(0.0, end - max(start, covered))
            covered = max(covered, end)
    return round(seconds / 3600, 6)


def _histogram(values: Sequence[float | int]) -> dict[str, list[float]]:
    """Count values in bars of equal width; no bars for equal values."""
    if len(set(values)) < 2:
        return {"edges": [], "counts": []}
    whole = all(isinstance(one, int) for one in values)
    low, high = min(values), max(values)
    bars = min(_BARS, int(high - low) + 1) if whole else _BARS
    span = (low - 0.5, high + 0.5) if whole else (low, high)
    counts, edges = np.histogram(values, bars, span)
    return {"edges": np.round(edges, 4).tolist(), "counts": counts.tolist()}


def summary_lines(summary: Mapping[str, Any]) -> list[str]:
    """Format the counts of a report, one line each."""
    kept = summary["kept"]
    lines = [f"kept {kept['train']} clips for training, {kept['validation']} for validation"]
    for key, what in (("dropped_clips", "clips dropped"), ("refused_files", "files refused")):
        lines += [f"{count} {what}: {reason}" for reason, count in summary[key].items()]
    if summary["left_out_between_splits"]:
        lines.append(f"{summary['left_out_between_splits']} clips left out between the splits")
    return lines + _reconstruction_lines(summary) + _caption_lines(summary["captions"])


def _reconstruction_lines(summary: Mapping[str, Any]) -> list[str]:
    found = summary.get("reconstruction")
    if not found:
        return []
    lines = [f"not decoded again: {one}" for one in found["failed"]]
    if found["clips"]:
        kept = 100 * max(0.0, found["variance"][1])
        onsets = f", onsets F1 {found['onset_f1'][1]:.2f}" if found["onset_f1"] else ""
        lines.append(
            f"decoded again, {found['clips']} clips keep (median): {kept:.0f} % of what varies in "
            f"the picture, PSNR {found['psnr'][1]:.1f} dB; sound within "
            f"{found['mel_distance'][1]:.1f} dB{onsets}"
        )
    return lines + list(found["remarks"])


def _caption_lines(captions: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    read = captions.get("vocabulary")
    if read and read["known_words"] < read["words"]:
        lines.append(
            f"captions that the models understand: {read['whole']} in whole, {read['part']} in "
            f"part, {read['nothing']} not at all; {read['known_words']} of {read['words']} words"
        )
    strange = captions["not_understood"]
    if strange:
        lines.append(
            f"{sum(strange.values())} clips have captions that the models do not understand, which "
            "are encoded as empty"
        )
    partly = captions.get("understood_in_part", {})
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
