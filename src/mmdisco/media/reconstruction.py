"""How much of a clip an autoencoder keeps: a clip compared with its reconstruction.

Pictures are compared by PSNR and by the share of their variance that is kept, sounds by log-mel
magnitudes and by the times at which they begin. Limits of what is enough follow from what the
embedded pair, which knows one kind of clips, keeps of that and of other kinds
(``benchmarks/reconstruction.py``, docs/reconstruction.json).
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from scipy.signal import find_peaks
from torch.nn.functional import interpolate

from mmdisco.media.clip import Audio, Frames, Video
from mmdisco.media.mel import MelScale
from mmdisco.media.read import resampled

Columns = npt.NDArray[np.float32]
"""Log-mel magnitudes in dB of full scale, (columns, bins)."""

LEAST_VARIANCE: Final = 0.5
"""Share of a picture's variance below which models do not know it; one even colour keeps 0. The
embedded pair keeps 0.94 and more of its own kind, of a film, a game and waves 0.35 and less."""
MOST_MEL_DISTANCE: Final = 4.5
"""Distance in dB above which models do not know a sound. The embedded pair keeps its own kind
within 3.6, waves, the least alike, within 5.1 (median)."""

_ADVICE: Final = "what they make will not fit: choose other models"
ONSET_WINDOW: Final = 0.05  # seconds, as MIREX counts onsets
_LOSSLESS: Final = 100.0  # dB; more is rounding
_EVEN: Final = 0.002  # variance of a picture as good as even, a spread of 11 of 255
_SCALE: Final = MelScale()
_RANGE: Final = 20 * math.log10(_SCALE.loudest / _SCALE.quietest)  # dB from silence to value 1
_LAG: Final = 2  # columns over which a rise is measured, 25 ms
_APART: Final = 8  # columns between two onsets at least, 100 ms
_RISE: Final = 2.0  # dB, mean over the bins, of the faintest onset
_SHARE: Final = 0.25  # of the steepest rise of the clip; fainter ones are no onsets


@dataclass(frozen=True)
class PictureReconstruction:
    """A video compared with its reconstruction.

    Attributes:
        psnr: Peak signal-to-noise ratio over all frames, dB, at most 100.
        variance: Share of the original's variance that is kept, at most 1: 1 − squared error /
            squared deviation from the mean colour of the clip. Below 0, that colour is nearer.
    """

    psnr: float
    variance: float

    @staticmethod
    def of(original: Video, decoded: Video) -> "PictureReconstruction":
        """Compare the frames that both have, at the size of the original."""
        count = min(len(original.frames), len(decoded.frames))
        frames, others = original.frames[:count], _sized(decoded.frames[:count], original.frames)
        error = float(np.mean(np.square(frames - others, dtype=np.float64)))
        spread = float(np.mean(np.var(frames, axis=(0, 1, 2), dtype=np.float64)))
        psnr = min(_LOSSLESS, -10 * math.log10(max(error, 1e-12)))
        return PictureReconstruction(psnr, 1 - error / max(spread, _EVEN))


@dataclass(frozen=True)
class SoundReconstruction:
    """A sound compared with its reconstruction, both at 16 kHz.

    Attributes:
        mel_distance: Mean absolute difference of log-mel magnitudes, dB, where either sound is
            louder than a sine of −60 dB; fainter ones count as that.
        onset_f1: Agreement of onsets in [0, 1]: F1 of one-to-one matches within 50 ms; None where
            neither sound has an onset.
    """

    mel_distance: float
    onset_f1: float | None

    @staticmethod
    def of(original: Audio, decoded: Audio) -> "SoundReconstruction":
        """Compare over the length that both have; at least one hop of 12.5 ms."""
        before, after = _decibels(original), _decibels(decoded)
        columns = min(len(before), len(after))
        before, after = before[:columns], after[:columns]
        heard = np.maximum(before, after) > 0.1 - _RANGE
        distance = float(np.abs(before - after)[heard].mean()) if heard.any() else 0.0
        return SoundReconstruction(distance, agreement(onsets(before), onsets(after)))


def picture_remark(variance: float) -> str:
    """Say that models which keep so much of a picture do not know it; "" where they do."""
    if variance >= LEAST_VARIANCE:
        return ""
    kept = "nothing" if variance <= 0 else f"{100 * variance:.0f} %"
    return (
        f"the models cannot know such pictures: their latents keep {kept} of what varies in them, "
        f"of known ones {100 * LEAST_VARIANCE:.0f} % and more; {_ADVICE}"
    )


def sound_remark(mel_distance: float) -> str:
    """Say that models with such a reconstruction do not know the sound; "" where they do."""
    if mel_distance <= MOST_MEL_DISTANCE:
        return ""
    return (
        f"the models cannot know such sounds: decoded from their latents, these are "
        f"{mel_distance:.1f} dB away, known ones {MOST_MEL_DISTANCE:g} dB at most; {_ADVICE}"
    )


def onsets(columns: Columns) -> list[float]:
    """Find the seconds at which many bins get louder at once."""
    rise = np.maximum(columns[_LAG:] - columns[:-_LAG], 0).mean(1)
    smooth = np.convolve(np.pad(rise, _LAG), np.ones(3) / 3, "same")
    least = max(_RISE, _SHARE * float(smooth.max(initial=0)))
    peaks = find_peaks(smooth, height=least, distance=_APART)[0]
    return [float(peak) * _SCALE.hop / _SCALE.sample_rate for peak in peaks]


def agreement(first: list[float], second: list[float]) -> float | None:
    """Compute F1 of one-to-one matches of two rising lists of seconds; None if both are empty."""
    free, matched = list(second), 0
    for instant in first:
        near = next((one for one in free if abs(one - instant) <= ONSET_WINDOW), None)
        if near is not None:
            free.remove(near)
            matched += 1
    count = len(first) + len(second)
    return 2 * matched / count if count else None


def _decibels(audio: Audio) -> Columns:
    """Compute log-mel magnitudes, 0 dB for the loudest value of the scale."""
    heard = resampled(audio, _SCALE.sample_rate).waveform
    padded = np.pad(heard, (0, max(0, _SCALE.n_fft - len(heard))))
    mel = _SCALE.analyse(torch.from_numpy(padded)[None])[0, 0].numpy()
    return (mel - np.float32(1)) * np.float32(_RANGE / 2)


def _sized(frames: Frames, like: Frames) -> Frames:
    """Scale frames to the size of others, by area."""
    if frames.shape[1:3] == like.shape[1:3]:
        return frames
    images = torch.from_numpy(frames).movedim(3, 1)
    return interpolate(images, size=like.shape[1:3], mode="area").movedim(1, 3).numpy()
