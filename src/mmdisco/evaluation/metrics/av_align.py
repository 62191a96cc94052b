"""AV-Align: how many onsets of a sound fall on peaks of a picture's motion.

Yariv et al. 2023 (arXiv 2309.16429); |matched| / |union|. Its code and its descendants differ: in
the least motion of a peak, in how peaks are matched, in the window. Each variant is an object here,
under a name that says which. Where neither side has a peak, the originals divide by zero; here the
score is 0, since nothing was aligned.

Onsets of a sound and motion of a picture as AV-Align takes them, by librosa and OpenCV.

Both are in the extra ``metrics``: ``pip install 'mmdisco[metrics]'``.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from mmdisco.errors import UserError
from mmdisco.evaluation.metrics.sounding_objects.event_f1 import Times
from mmdisco.media.clip import Audio, Video
from mmdisco.media.read import resampled


def motion_peaks(motion: npt.NDArray[np.floating], fps: float, least: float) -> Times:
    """Strict local maxima of at least ``least``, in seconds; never the first or the last frame."""
    inner = motion[1:-1]
    high = (inner > motion[:-2]) & (inner > motion[2:]) & (inner >= least)
    return (np.flatnonzero(high) + 1) / fps


class Matching(ABC):
    """Two lists of instants to a score."""

    @abstractmethod
    def score(self, heard: Times, seen: Times, window: float) -> float:
        """In [0, 1], unless the matching says otherwise; of two lists not both empty."""


@dataclass(frozen=True)
class OneToOne(Matching):
    """Each onset in turn takes the first free peak closer than the window."""

    def score(self, heard: Times, seen: Times, window: float) -> float:
        """Matched over union."""
        free, matched = list(seen), 0
        for instant in heard:
            near = next((k for k, peak in enumerate(free) if abs(instant - peak) < window), None)
            if near is not None:
                del free[near]
                matched += 1
        return matched / (len(heard) + len(seen) - matched)


@dataclass(frozen=True)
class OneSided(Matching):
    """Onsets near any peak; several may share one, so the score may exceed 1."""

    def score(self, heard: Times, seen: Times, window: float) -> float:
        """Matched over union."""
        matched = int(_near(heard, seen, window).sum())
        union = len(heard) + len(seen) - matched
        return matched / union if union else 1.0


@dataclass(frozen=True)
class Symmetric(Matching):
    """Hits of both lists in one another over all instants."""

    def score(self, heard: Times, seen: Times, window: float) -> float:
        """Hits over instants."""
        hits = _near(heard, seen, window).sum() + _near(seen, heard, window).sum()
        return float(hits / (len(heard) + len(seen)))


@dataclass(frozen=True)
class Product(Matching):
    """Union of the shares hit of both lists: p q / (p + q − p q)."""

    def score(self, heard: Times, seen: Times, window: float) -> float:
        """Of both shares."""
        if not len(heard) or not len(seen):
            return 0.0
        p = float(_near(heard, seen, window).mean())
        q = float(_near(seen, heard, window).mean())
        return p * q / (p + q - p * q) if p + q else 0.0


@dataclass(frozen=True, slots=True)
class Variant:
    """One definition of AV-Align.

    Attributes:
        name: Who defines it so.
        matching: How instants are matched.
        least_motion: Of a peak, pixels a frame.
        frames: Of the window, exclusive.
    """

    name: str
    matching: Matching
    least_motion: float
    frames: int

    def score(self, onsets: Times, motion: npt.NDArray[np.floating], fps: float) -> float:
        """Of one clip: onsets in seconds, motion of every frame."""
        seen = motion_peaks(motion, fps, self.least_motion)
        if not len(onsets) and not len(seen):
            return 0.0
        return self.matching.score(onsets, seen, self.frames / fps)


CURRENT: Final = Variant("TempoTokens 2025", OneToOne(), least_motion=0.1, frames=1)
VARIANTS: Final = (
    CURRENT,
    Variant("TempoTokens 2023, JavisDiT", OneSided(), least_motion=0.0, frames=1),
    Variant("JavisBench, as described", Symmetric(), least_motion=0.0, frames=3),
    Variant("SVG", Product(), least_motion=0.0, frames=1),
)


def _near(first: Times, second: Times, window: float) -> npt.NDArray[np.bool_]:
    """Which of ``first`` have any of ``second`` closer than the window."""
    return np.asarray((np.abs(first[:, None] - second[None]) < window).any(1), np.bool_)


RATE: Final = 22_050  # samples a second, librosa's own
_MISSING: Final = "AV-Align needs librosa and OpenCV: pip install 'mmdisco[metrics]'"

Trace = npt.NDArray[np.float64]  # (frames,)


def audio_onsets(audio: Audio) -> Times:
    """``librosa.onset.onset_detect`` on ``onset_strength``, with its defaults, in seconds.

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
    """Mean magnitude of Farnebäck's flow from the frame before, pixels; the first value twice.

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
