"""Clips in memory: frames and a waveform with their rates; independent of files and models.

The canonical layout is the same everywhere outside networks: frames are float32 in [0, 1],
shape (frames, height, width, 3); sound is one channel of float32 in [−1, 1], shape (samples,).
Frame i is shown at exactly i/fps seconds, sample j at j/sample_rate. Values that are not finite
are refused here, whatever produced them, before they can become a black picture in a file.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
import numpy.typing as npt

from mmdisco.errors import UserError


class NotFiniteError(UserError):
    """Frames or samples hold NaN or infinity, so they can be neither shown nor played."""


Frames = npt.NDArray[np.float32]
Waveform = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False, slots=True)
class Video:
    """A video track.

    Attributes:
        frames: (frames, height, width, 3), RGB in [0, 1]; at least one frame.
        fps: Frames per second, exact.
    """

    frames: Frames
    fps: Fraction

    def __post_init__(self) -> None:
        if self.frames.ndim != 4 or self.frames.shape[3] != 3:
            raise ValueError(f"frames must be (frames, height, width, 3), not {self.frames.shape}")
        if 0 in self.frames.shape:
            raise UserError("the video has no frames")
        if self.fps <= 0:
            raise ValueError(f"fps must be positive, not {self.fps}")
        _expect_finite("picture", self.frames)

    @property
    def seconds(self) -> Fraction:
        """Duration in seconds: the last frame is shown for 1/fps like the others."""
        return len(self.frames) / self.fps

    @property
    def times(self) -> npt.NDArray[np.float64]:
        """Time of each frame in seconds, shape (frames,)."""
        return np.arange(len(self.frames)) / float(self.fps)


@dataclass(frozen=True, eq=False, slots=True)
class Audio:
    """An audio track of one channel.

    Attributes:
        waveform: (samples,), in [−1, 1]; at least one sample. All zeros is a silent track, which is
            not the same as no track.
        sample_rate: Samples per second.
    """

    waveform: Waveform
    sample_rate: int

    def __post_init__(self) -> None:
        if self.waveform.ndim != 1:
            raise ValueError(f"a waveform must be (samples,), not {self.waveform.shape}")
        if not len(self.waveform):
            raise UserError("the sound has no samples")
        if self.sample_rate <= 0:
            raise ValueError(f"sample_rate must be positive, not {self.sample_rate}")
        _expect_finite("sound", self.waveform)

    @property
    def seconds(self) -> Fraction:
        """Duration in seconds."""
        return Fraction(len(self.waveform), self.sample_rate)

    @property
    def is_silent(self) -> bool:
        """Whether every sample is below the last bit of 16-bit sound."""
        return bool(np.abs(self.waveform).max() < 2**-15)


@dataclass(frozen=True, eq=False, slots=True)
class AudioVideo:
    """An audio and a video track that start together."""

    audio: Audio
    video: Video


@dataclass(frozen=True)
class ClipSpec:
    """Format of the clips that models make and take.

    Attributes:
        seconds: Length.
        fps: Frames per second.
        size: Height and width, pixels.
        sample_rate: Samples per second.
    """

    seconds: Fraction
    fps: Fraction
    size: tuple[int, int]
    sample_rate: int

    @property
    def frames(self) -> int:
        """Frames of a clip, to the nearest whole number."""
        return round(self.seconds * self.fps)


def _expect_finite(name: str, values: npt.NDArray[np.float32]) -> None:
    # a sum is finite only if all of it is, and needs no second array of the size of the video
    if not np.isfinite(values.sum(dtype=np.float64)):
        raise NotFiniteError(f"the {name} holds values that are not finite numbers")


CEILING: Final = 10 ** (-1 / 20)  # peak of reduced sound; a lossy encoder overshoots a little


def cut_audio(audio: Audio, seconds: float) -> Audio:
    """Cut to at most the first ``seconds``, at least one sample."""
    samples = max(1, round(seconds * audio.sample_rate))
    return Audio(audio.waveform[:samples], audio.sample_rate)


def cut_video(video: Video, seconds: float) -> Video:
    """Cut to at most the first ``seconds``, at least one frame."""
    frames = max(1, round(seconds * video.fps))
    return Video(video.frames[:frames], video.fps)


def fit_audio(audio: Audio, samples: int) -> Audio:
    """Cut at the end, or pad with silence, to exactly ``samples``."""
    waveform = audio.waveform[:samples]
    return Audio(np.pad(waveform, (0, samples - len(waveform))), audio.sample_rate)


def fit_video(video: Video, frames: int) -> Video:
    """Cut at the end, or hold the last frame, to exactly ``frames``."""
    kept = video.frames[:frames]
    held = np.repeat(kept[-1:], frames - len(kept), axis=0)
    return Video(np.concatenate([kept, held]), video.fps)


def bring_down(audio: Audio) -> Audio:
    """Scale a clipping sound to a peak of −1 dB; others are unchanged."""
    peak = float(np.abs(audio.waveform).max())
    if peak <= 1:
        return audio
    return Audio(audio.waveform * np.float32(CEILING / peak), audio.sample_rate)
