"""AV-Align: the share of audio onsets that coincide with peaks of motion.

Yariv et al. 2023 (arXiv 2309.16429); |matched| / |union|. Its code and its descendants differ in
the minimum motion of a peak, in how peaks are matched, and in the window. Each variant is an object
here, named after its source. Where neither modality has a peak, the originals divide by zero; here
the score is 0, since nothing is aligned.

Onsets and motion are computed by librosa and OpenCV, which are in the extra ``metrics``: ``pip
install 'mmdisco[metrics]'``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from mmdisco.errors import UserError
from mmdisco.evaluation.metrics.features import Times
from mmdisco.media.clip import Audio, Video
from mmdisco.media.read import resampled


def motion_peaks(motion: npt.NDArray[np.floating], fps: float, least: float) -> Times:
    """Find strict local maxima of at least ``least``, in seconds; never the first or last frame."""
    inner = motion[1:-1]
    high = (inner > motion[:-2]) & (inner > motion[2:]) & (inner >= least)
    return (np.flatnonzero(high) + 1) / fps


Matching = Callable[[Times, Times, float], float]
"""Score of two lists of times, heard and seen, not both empty, within a window in seconds."""


def one_to_one(heard: Times, seen: Times, window: float) -> float:
    """Match greedily, each onset in turn to the first free peak in the window; matched / union."""
    free, matched = list(seen), 0
    for instant in heard:
        near = next((k for k, peak in enumerate(free) if abs(instant - peak) < window), None)
        if near is not None:
            del free[near]
            matched += 1
    return matched / (len(heard) + len(seen) - matched)


def one_sided(heard: Times, seen: Times, window: float) -> float:
    """Count onsets near any peak over the union; several may share one, so it may exceed 1."""
    matched = int(_near(heard, seen, window).sum())
    union = len(heard) + len(seen) - matched
    return matched / union if union else 1.0


def symmetric(heard: Times, seen: Times, window: float) -> float:
    """Count hits of both lists in one another over all times."""
    hits = _near(heard, seen, window).sum() + _near(seen, heard, window).sum()
    return float(hits / (len(heard) + len(seen)))


def union_of_rates(heard: Times, seen: Times, window: float) -> float:
    """Unite the hit rates p and q of both lists: p q / (p + q − p q)."""
    if not len(heard) or not len(seen):
        return 0.0
    p = float(_near(heard, seen, window).mean())
    q = float(_near(seen, heard, window).mean())
    return p * q / (p + q - p * q) if p + q else 0.0


@dataclass(frozen=True, slots=True)
class AvAlignVariant:
    """One variant of AV-Align.

    Attributes:
        name: Source of the variant.
        matching: Matching of times.
        least_motion: Minimum motion of a peak, pixels per frame.
        frames: Length of the window in frames, exclusive.
    """

    name: str
    matching: Matching
    least_motion: float
    frames: int

    def score(self, onsets: Times, motion: npt.NDArray[np.floating], fps: float) -> float:
        """Score one clip: onsets in seconds, motion of every frame."""
        seen = motion_peaks(motion, fps, self.least_motion)
        if not len(onsets) and not len(seen):
            return 0.0
        return self.matching(onsets, seen, self.frames / fps)


CURRENT: Final = AvAlignVariant("TempoTokens 2025", one_to_one, least_motion=0.1, frames=1)
VARIANTS: Final = (
    CURRENT,
    AvAlignVariant("TempoTokens 2023, JavisDiT", one_sided, least_motion=0.0, frames=1),
    AvAlignVariant("JavisBench, as described", symmetric, least_motion=0.0, frames=3),
    AvAlignVariant("SVG", union_of_rates, least_motion=0.0, frames=1),
)


def _near(first: Times, second: Times, window: float) -> npt.NDArray[np.bool_]:
    """Mark which of ``first`` have any of ``second`` closer than the window."""
    return np.asarray((np.abs(first[:, None] - second[None]) < window).any(1), np.bool_)


RATE: Final = 22_050  # samples per second, librosa's default
_MISSING: Final = "AV-Align needs librosa and OpenCV: pip install 'mmdisco[metrics]'"

Trace = npt.NDArray[np.float64]  # (frames,)


def audio_onsets(audio: Audio) -> Times:
    """Detect onsets by ``librosa.onset.onset_detect`` on ``onset_strength``, in seconds.

    Both run with their defaults.

    Raises:
        UserError: librosa is not installed.
    """
    try:
        from librosa.onset import onset_detect, onset_strength
    except ImportError as error:
        raise UserError(_MISSING) from error
    heard = resampled(audio, RATE).waveform
    strength = onset_strength(y=heard, sr=RATE)
    found = onset_detect(onset_envelope=strength, sr=RATE, units="time")
    return np.asarray(found, np.float64)


def motion(video: Video) -> Trace:
    """Compute the mean magnitude of Farnebäck's flow from the previous frame, in pixels.

    The first value appears twice, so that there is one per frame.

    Raises:
        UserError: OpenCV is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise UserError(_MISSING) from error
    bytes_ = np.round(video.frames * 255).clip(0, 255).astype(np.uint8)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in bytes_]
    found: list[float] = []
    for before, after in pairwise(grey):
        start = np.zeros((*before.shape, 2), np.float32)
        flow = cv2.calcOpticalFlowFarneback(before, after, start, 0.5, 3, 15, 3, 5, 1.2, 0)
        found.append(float(np.linalg.norm(flow, axis=2).mean()))
    return np.array([*found[:1], *found], np.float64) if found else np.zeros(1)
