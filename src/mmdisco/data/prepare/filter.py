"""Statistics of a clip, and the filter that skips unusable clips."""

from typing import Any, Final

import numpy as np

from mmdisco.media.clip import AudioVideo, Frames
from mmdisco.media.probe import SkipReason

_CHANGE: Final = 10 / 255  # of a pixel's value; compression alone seldom changes it by more
_SIDE: Final = 64  # minimum length of the shorter side after subsampling, pixels
_PIXELS: Final = 1e-3  # minimum share of pixels that must change at some time


def skip_reason(clip: AudioVideo) -> SkipReason | None:
    """Return the reason to skip a clip; None if it is usable.

    A clip is unusable if every sample is 0 to 16 bits, or if fewer than one pixel in a thousand
    ever differs from the first frame by more than 10 of 255.
    """
    if clip.audio.is_silent:
        return SkipReason("digital silence")
    if _changing(_looked(clip.video.frames)) < _PIXELS:
        return SkipReason("frozen picture")
    return None


def statistics(clip: AudioVideo) -> dict[str, Any]:
    """Compute statistics for the manifest, rounded to four decimals.

    Returns:
        ``loudness``: root mean square in dB of full scale; ``peak``: the largest sample;
            ``motion``: mean change of a pixel from frame to frame; ``brightness``: mean of all
            pixels.
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
    """Subsample large frames to every n-th pixel: accurate enough here, and much faster."""
    step = max(1, min(frames.shape[1:3]) // _SIDE)
    return frames[:, ::step, ::step]


def _changing(frames: Frames) -> float:
    """Compute the share of pixels that ever differ from the first frame."""
    moved = np.zeros(frames.shape[1:3], bool)
    for frame in frames[1:]:
        moved |= (np.abs(frame - frames[0]) > _CHANGE).any(axis=-1)
    return float(moved.mean())
