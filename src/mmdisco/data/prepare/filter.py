"""What a clip is like, in a few figures, and whether it is worth being encoded."""

from typing import Any, Final

import numpy as np

from mmdisco.media.clip import AudioVideo, Frames
from mmdisco.media.probe import SkipReason

_CHANGE: Final = 10 / 255  # of a pixel's value, that compression alone seldom makes
_SIDE: Final = 64  # pixels of the shorter side that are looked at, at least
_PIXELS: Final = 1e-3  # share of the picture that must change at some time


def skip_reason(clip: AudioVideo) -> SkipReason | None:
    """Why a clip is of no use; None if it is of use.

    It is not where every sample is 0 to 16 bits, or where fewer than one pixel in a thousand ever
    differs from the first frame by more than 10 of 255.
    """
    if clip.audio.is_silent:
        return SkipReason("digital silence")
    if _changing(_looked(clip.video.frames)) < _PIXELS:
        return SkipReason("frozen picture")
    return None


def statistics(clip: AudioVideo) -> dict[str, Any]:
    """Figures for the manifest, rounded to four digits behind the point.

    Returns:
        ``loudness``: root mean square in dB of full scale; ``peak``: the largest sample;
        ``motion``: mean change of a pixel from frame to frame; ``brightness``: mean of all pixels.
    """
    frames = _looked(clip.video.frames)
    power = float(np.mean(np.square(clip.audio.waveform, dtype=np.float64)))
    moved = np.abs(np.diff(frames, axis=0)).mean() if len(frames) > 1 else 0.0
    return {
        "loudness": round(10 * float(np.log10(max(power, 1e-12))), 4),
        "peak": round(float(np.abs(clip.audio.waveform).max()), 4),
        "motion": round(float(moved), 4),
        "brightness": round(float(frames.mean()), 4),
    }


def _looked(frames: Frames) -> Frames:
    """Every so-manieth pixel of large frames: enough to judge, and a fraction of the time."""
    step = max(1, min(frames.shape[1:3]) // _SIDE)
    return frames[:, ::step, ::step]


def _changing(frames: Frames) -> float:
    """Share of the pixels that differ from the first frame at any time."""
    moved = np.zeros(frames.shape[1:3], bool)
    for frame in frames[1:]:
        moved |= (np.abs(frame - frames[0]) > _CHANGE).any(axis=-1)
    return float(moved.mean())
