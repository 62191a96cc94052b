"""Reading of clips from files of any container and codec that FFmpeg knows, through PyAV.

Time 0 is the first frame, or the first sample of a file without video. Frames are taken by
their time stamps, never by counting, so variable rates and rounded stamps come out right; sound
is placed by its stamps, so a late track begins with silence. Of several tracks the one is read
that a player would play. A missing track is an error, a silent one is not. Decoding is in
``decode``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from math import gcd
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.stream import VideoStream
from scipy.signal import resample_poly

from mmdisco.errors import UserError
from mmdisco.media.clip import Audio, AudioVideo, Frames, Video, fit_audio
from mmdisco.media.clock import rate_of
from mmdisco.media.decode import frames_at, sound
from mmdisco.media.geometry import pixel_shape, upright
from mmdisco.media.opening import expect_room, opened, picture_track


@dataclass(frozen=True, slots=True)
class ReadSpec:
    """Excerpt of a file to read, and its rates and size.

    Attributes:
        start: Seconds after time 0.
        seconds: Maximal length; ``None`` reads to the end.
        fps: Frames per second of the result; ``None`` keeps the file's average.
        size: (height, width) of the result, centre-cropped and scaled; ``None`` keeps it.
        sample_rate: Sample rate of the result; ``None`` keeps the file's.
        audio_track: Number of the audio track, from 1; ``None`` is the one that a player plays.
    """

    start: Fraction = Fraction(0)
    seconds: Fraction | None = None
    fps: Fraction | None = None
    size: tuple[int, int] | None = None
    sample_rate: int | None = None
    audio_track: int | None = None


WHOLE = ReadSpec()


def frame_rate(path: Path) -> Fraction:
    """Return the average frame rate of the video, which ``read_video`` keeps.

    Raises:
        UserError: There is no video track, or the file cannot be read.
    """
    with opened(path) as container:
        return rate_of(container)


def read_clip(path: Path, selection: ReadSpec = WHOLE) -> AudioVideo:
    """Read video and audio; the audio is cut or padded with silence to the video's length.

    Raises:
        UserError: A track is missing or empty, or the file cannot be read.
    """
    video, audio = read_video(path, selection), read_audio(path, selection)
    return AudioVideo(fit_audio(audio, round(video.seconds * audio.sample_rate)), video)


def read_video(path: Path, selection: ReadSpec = WHOLE) -> Video:
    """Read the video track.

    Raises:
        UserError: There is none, it has no frames in the selection, it does not fit into memory, it
            changes its size while the selection has none, or it cannot be decoded.
    """
    with opened(path) as container:
        stream = picture_track(container)
        fps = selection.fps or rate_of(container)
        pixel = pixel_shape(stream)
        height, width = selection.size or (stream.height, round(stream.width * pixel))
        each = height * width * 3 * np.dtype(np.float32).itemsize
        lasts = selection.seconds or _stated(container, stream)
        expect_room(path, round(lasts * fps), each, f"frames of {height}x{width}")
        frames: list[npt.NDArray[np.uint8]] = []
        for frame in frames_at(container, _times(selection, fps), 1 / fps):
            frames.append(upright(frame, selection.size, pixel))
            if frames[-1].shape != frames[0].shape:
                before, after = ("{}x{}".format(*one.shape) for one in (frames[0], frames[-1]))
                raise UserError(
                    f"{path} has a picture that changes its size, from {before} to {after}: give a "
                    "size to read it at"
                )
            expect_room(path, len(frames), frames[0].size * 4, f"frames of {height}x{width}")
        if not frames:
            raise UserError(f"{path} has no frames{_where(selection)}")
        return Video(_in_floats(frames), fps)


def read_audio(path: Path, selection: ReadSpec = WHOLE) -> Audio:
    """Read an audio track, all channels mixed into one.

    Raises:
        UserError: There is none, it has no samples in the selection, or it cannot be decoded.
    """
    with opened(path) as container:
        waveform, rate = sound(
            container, selection.start, selection.seconds, number=selection.audio_track
        )
    if not len(waveform):
        raise UserError(f"{path} has no samples{_where(selection)}")
    audio = Audio(waveform, rate)
    return resampled(audio, selection.sample_rate) if selection.sample_rate else audio


def resampled(audio: Audio, sample_rate: int) -> Audio:
    """Resample ``audio`` by a polyphase filter; its length in seconds is kept."""
    if sample_rate == audio.sample_rate:
        return audio
    common = gcd(sample_rate, audio.sample_rate)
    changed = resample_poly(audio.waveform, sample_rate // common, audio.sample_rate // common)
    return Audio(np.clip(changed, -1, 1).astype(np.float32), sample_rate)


def _in_floats(frames: list[npt.NDArray[np.uint8]]) -> Frames:
    """Convert all frames to [0, 1]; bytes are freed one by one, so memory never holds both."""
    result = np.empty((len(frames), *frames[0].shape), np.float32)
    for index, frame in enumerate(frames):
        np.divide(frame, np.float32(255), out=result[index])
        frames[index] = frame[:0]
    return result


def _stated(container: InputContainer, stream: VideoStream) -> Fraction:
    """Return the stated length of the video in seconds, 0 where there is none."""
    if stream.duration and stream.time_base:
        return stream.duration * stream.time_base
    return Fraction(container.duration or 0, av.time_base)


def _where(selection: ReadSpec) -> str:
    return f" after {float(selection.start):g} s" if selection.start else ""


def _times(selection: ReadSpec, fps: Fraction) -> Iterator[Fraction]:
    steps = count() if selection.seconds is None else range(round(selection.seconds * fps))
    return (selection.start + step / fps for step in steps)
