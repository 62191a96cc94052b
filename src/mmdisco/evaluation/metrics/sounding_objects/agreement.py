"""Audio-video agreement over many clips, and its two baselines.

*Shuffled*: every video gets the sound of some other clip. *Re-paired*: of some other clip with the
same caption. Agreement that survives recombination comes from the caption, or from a generator that
repeats one clip; it is not alignment. What the caption names agrees anyway, so each attribute is
also counted over the clips whose caption leaves it open.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

import numpy as np

from mmdisco.errors import UserError
from mmdisco.evaluation.metrics.features import Times
from mmdisco.evaluation.metrics.sounding_objects.detect_audio import Detections, detect_audio
from mmdisco.evaluation.metrics.sounding_objects.detect_video import detect_video
from mmdisco.media.clip import AudioVideo
from mmdisco.media.sounding_objects.scene import SceneConstraints

TIGHT: Final = 0.05  # seconds; the tolerance of published results
LOOSE: Final = 0.10


@dataclass(frozen=True, eq=False, slots=True)
class Reading:
    """Detections of one clip in its pixels and in its waveform, with the request.

    Attributes:
        sight: Detections in the pixels only.
        hearing: Detections in the waveform only.
        named: Attributes that the caption names.
    """

    sight: Detections
    hearing: Detections
    named: SceneConstraints


@dataclass(frozen=True, slots=True)
class Share:
    """Mean of per-clip scores in [0, 1].

    Attributes:
        value: The mean; NaN over no clips.
        clips: Number of clips.
        error: Standard error of the mean.
    """

    value: float
    clips: int
    error: float


def matches(first: Times, second: Times, tolerance: float) -> int:
    """Count the pairs of a maximum matching, each event in at most one, no pair farther apart.

    Args:
        first: Ascending times in seconds.
        second: Ascending times in seconds.
        tolerance: Maximum distance in seconds, inclusive.
    """
    i = j = found = 0
    # Taking the earliest admissible partner never costs a later match, since all windows are
    # equal.
    while i < len(first) and j < len(second):
        if abs(first[i] - second[j]) <= tolerance:
            found, i, j = found + 1, i + 1, j + 1
        elif first[i] < second[j]:
            i += 1
        else:
            j += 1
    return found


def event_f1(first: Times, second: Times, tolerance: float) -> float:
    """Compute F1 = 2 matches / (events of both); 0 if neither has any, since nothing happened."""
    events = len(first) + len(second)
    return 2 * matches(first, second, tolerance) / events if events else 0.0


def read(clip: AudioVideo, named: SceneConstraints) -> Reading:
    """Detect events and attributes of ``clip`` in both modalities."""
    return Reading(detect_video(clip.video), detect_audio(clip.audio), named)


def agreement(readings: Sequence[Reading]) -> dict[str, Share]:
    """Average every score of ``SCORES`` over ``readings``, one per clip."""
    return {name: _share(readings, score) for name, score in SCORES.items()}


def shuffle(readings: Sequence[Reading], seed: int) -> list[Reading]:
    """Give every video the sound of another clip.

    Raises:
        UserError: There are fewer than two clips.
    """
    if len(readings) < 2:
        raise UserError("shuffling needs at least two clips")
    return _rotated(readings, np.random.default_rng(seed))


def same_caption_shuffle(readings: Sequence[Reading], seed: int) -> list[Reading]:
    """Give every video the sound of another clip whose caption has the same meaning.

    Clips whose caption has a unique meaning are left out.

    Raises:
        UserError: No two captions have the same meaning.
    """
    rng = np.random.default_rng(seed)
    groups: defaultdict[SceneConstraints, list[Reading]] = defaultdict(list)
    for reading in readings:
        groups[reading.named].append(reading)
    paired = [r for group in groups.values() if len(group) > 1 for r in _rotated(group, rng)]
    if not paired:
        raise UserError("recombination needs at least two clips of one caption")
    return paired


def as_record(shares: Mapping[str, Share]) -> dict[str, dict[str, float]]:
    """Convert shares to nested dictionaries, for JSON."""
    return {name: asdict(one) for name, one in shares.items()}


def _rotated(readings: Sequence[Reading], rng: np.random.Generator) -> list[Reading]:
    """Move sounds along one random cycle through all clips, so that none stays."""
    order = rng.permutation(len(readings))
    return [
        replace(readings[i], hearing=readings[j].hearing)
        for i, j in zip(order, np.roll(order, 1), strict=True)
    ]


def _share(readings: Sequence[Reading], score: Callable[[Reading], float | None]) -> Share:
    scores = np.array([s for s in map(score, readings) if s is not None], np.float64)
    if not len(scores):
        return Share(float("nan"), 0, float("nan"))
    error = scores.std() / np.sqrt(max(len(scores) - 1, 1))
    return Share(float(scores.mean()), len(scores), float(error))


def _same(first: object, second: object) -> float:
    """Return 1 if both were detected and agree."""
    return float(first is not None and first == second)


def _if_named(named: object, seen: object) -> float | None:
    return None if named is None else _same(named, seen)


SCORES: Final[dict[str, Callable[[Reading], float | None]]] = {
    # F1 of events seen and heard, and clips whose events all match
    "event_f1": lambda r: event_f1(r.sight.events, r.hearing.events, TIGHT),
    "event_f1_loose": lambda r: event_f1(r.sight.events, r.hearing.events, LOOSE),
    "exact": lambda r: float(event_f1(r.sight.events, r.hearing.events, TIGHT) == 1),
    # the same by pixels and by sound; free: where the caption does not name it
    "material": lambda r: _same(r.sight.colour, r.hearing.colour),
    "material_free": lambda r: None if r.named.colour else _same(r.sight.colour, r.hearing.colour),
    "size": lambda r: _same(r.sight.size, r.hearing.size),
    "size_free": lambda r: None if r.named.size else _same(r.sight.size, r.hearing.size),
    "kind": lambda r: _same(r.sight.kind, r.hearing.kind),
    # as the caption names it, where it does
    "caption_kind": lambda r: _if_named(r.named.kind, r.sight.kind),
    "caption_kind_heard": lambda r: _if_named(r.named.kind, r.hearing.kind),
    "caption_colour": lambda r: _if_named(r.named.colour, r.sight.colour),
    "caption_size": lambda r: _if_named(r.named.size, r.sight.size),
    "caption_count": lambda r: _if_named(r.named.count, len(r.sight.events)),
    "events_seen": lambda r: float(len(r.sight.events)),
    "events_heard": lambda r: float(len(r.hearing.events)),
}
"""Scores of a clip; ``None`` leaves the clip out of the mean."""
