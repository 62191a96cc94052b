"""Reads clips from files of any container and codec that FFmpeg knows, through PyAV.

Time 0 is the first frame, or the first sample of a file without pictures. Frames are taken by their
time stamps, never by counting, so variable rates and rounded stamps come out right; sound is placed
by its stamps, so a late track begins with silence. Rotation is applied. A missing track is an
error, a silent one is not. How a file is decoded is ``decoding``'s.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from math import gcd
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

from mmdisco.errors import UserError
from mmdisco.media.clip import Audio, AudioVideo, Video, samples_for
from mmdisco.media.decoding import UNSTATED_RATE, on_screen, opened, pixels, sound


@dataclass(frozen=True, slots=True)
class Selection:
    """Which part of a file to read, and at which rates and size.

    Attributes:
        start: Seconds after time 0.
        seconds: At most so many seconds; ``None`` reads to the end.
        fps: Frames a second of the result; ``None`` keeps the file's average.
        size: (height, width) of the result, cut from the middle and scaled; ``None`` keeps it.
        sample_rate: Of the result; ``None`` keeps the file's.
    """

    start: Fraction = Fraction(0)
    seconds: Fraction | None = None
    fps: Fraction | None = None
    size: tuple[int, int] | None = None
    sample_rate: int | None = None


WHOLE = Selection()


@dataclass(frozen=True, slots=True)
class Tracks:
    """Which tracks a file has; a silent one counts."""

    audio: bool
    video: bool


def tracks(path: Path) -> Tracks:
    """Say which tracks the file at ``path`` has."""
    with opened(path) as container:
        return Tracks(bool(container.streams.audio), bool(container.streams.video))


def frame_rate(path: Path) -> Fraction:
    """The average frames a second of the first picture track, which ``read_video`` keeps.

    Raises:
        UserError: There is no picture track, or the file cannot be read.
    """
    with opened(path) as container:
        if not container.streams.video:
            raise UserError(f"{path} has no picture track")
        return container.streams.video[0].average_rate or UNSTATED_RATE


def read_clip(path: Path, selection: Selection = WHOLE) -> AudioVideo:
    """Read picture and sound; the sound is cut or padded with silence to the picture's length.

    Raises:
        UserError: A track is missing or empty, or the file cannot be read.
    """
    video = read_video(path, selection)
    audio = read_audio(path, selection)
    samples = samples_for(video, audio.sample_rate)
    waveform = np.zeros(samples, np.float32)
    heard = audio.waveform[:samples]
    waveform[: len(heard)] = heard
    return AudioVideo(audio=Audio(waveform, audio.sample_rate), video=video)


def read_video(path: Path, selection: Selection = WHOLE) -> Video:
    """Read the first picture track.

    Raises:
        UserError: There is none, it has no frames in the selection, or it cannot be decoded.
    """
    with opened(path) as container:
        if not container.streams.video:
            raise UserError(f"{path} has no picture track")
        stream = container.streams.video[0]
        fps = selection.fps or stream.average_rate or UNSTATED_RATE
        shown = on_screen(container, _times(selection, fps), 1 / fps)
        frames = [pixels(frame, selection.size) for frame in shown]
        if not frames:
            raise UserError(f"{path} has no frames{_where(selection)}")
        return Video(np.stack(frames), fps)


def read_audio(path: Path, selection: Selection = WHOLE) -> Audio:
    """Read the first sound track, all channels mixed into one.

    Raises:
        UserError: There is none, it has no samples in the selection, or it cannot be decoded.
    """
    with opened(path) as container:
        if not container.streams.audio:
            raise UserError(f"{path} has no sound track")
        waveform, rate = sound(container, selection.start, selection.seconds)
    if not len(waveform):
        raise UserError(f"{path} has no samples{_where(selection)}")
    audio = Audio(waveform, rate)
    return resampled(audio, selection.sample_rate) if selection.sample_rate else audio


def resampled(audio: Audio, sample_rate: int) -> Audio:
    """``audio`` at another rate, by a polyphase filter; its length in seconds is kept."""
    if sample_rate == audio.sample_rate:
        return audio
    common = gcd(sample_rate, audio.sample_rate)
    changed = resample_poly(audio.waveform, sample_rate // common, audio.sample_rate // common)
    return Audio(np.clip(changed, -1, 1).astype(np.float32), sample_rate)


def _where(selection: Selection) -> str:
    return f" after {float(selection.start):g} s" if selection.start else ""


def _times(selection: Selection, fps: Fraction) -> Iterator[Fraction]:
    steps = count() if selection.seconds is None else range(round(selection.seconds * fps))
    return (selection.start + step / fps for step in steps)
