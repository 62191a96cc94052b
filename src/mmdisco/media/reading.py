"""Reads clips from files of any container and codec that FFmpeg knows, through PyAV.

Time 0 is the first frame, or the first sample of a file without pictures. Frames are taken by their
time stamps, never by counting, so variable rates and rounded stamps come out right; sound is placed
by its stamps, so a late track begins with silence. Rotation is applied. A missing track is an
error, a silent one is not.
"""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from math import gcd
from pathlib import Path

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from scipy.signal import resample_poly

from mmdisco.errors import UserError
from mmdisco.media.clip import Audio, AudioVideo, Frames, Video, Waveform, samples_for


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
UNSTATED_RATE = Fraction(25)


@dataclass(frozen=True, slots=True)
class Tracks:
    """Which tracks a file has; a silent one counts."""

    audio: bool
    video: bool


def tracks(path: Path) -> Tracks:
    """Say which tracks the file at ``path`` has."""
    with _opened(path) as container:
        return Tracks(bool(container.streams.audio), bool(container.streams.video))


def frame_rate(path: Path) -> Fraction:
    """The average frames a second of the first picture track, which ``read_video`` keeps.

    Raises:
        UserError: There is no picture track, or the file cannot be read.
    """
    with _opened(path) as container:
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
    with _opened(path) as container:
        if not container.streams.video:
            raise UserError(f"{path} has no picture track")
        stream = container.streams.video[0]
        fps = selection.fps or stream.average_rate or UNSTATED_RATE
        frames = [_pixels(frame, selection.size) for frame in _at_rate(container, selection, fps)]
        if not frames:
            raise UserError(f"{path} has no frames{_where(selection)}")
        return Video(np.stack(frames), fps)


def read_audio(path: Path, selection: Selection = WHOLE) -> Audio:
    """Read the first sound track, all channels mixed into one.

    Raises:
        UserError: There is none, it has no samples in the selection, or it cannot be decoded.
    """
    with _opened(path) as container:
        if not container.streams.audio:
            raise UserError(f"{path} has no sound track")
        waveform, rate = _mixed(container)
    first = round(selection.start * rate)
    last = None if selection.seconds is None else first + round(selection.seconds * rate)
    waveform = waveform[first:last]
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


@contextmanager
def _opened(path: Path) -> Generator[InputContainer]:
    """The file at ``path``; whatever FFmpeg cannot do with it becomes one clear line."""
    try:
        with av.open(str(path)) as container:
            yield container
    except (av.error.FFmpegError, OSError) as error:
        reason = error.strerror or "not a media file"
        raise UserError(f"cannot read {path}: {reason[:1].lower()}{reason[1:]}") from error


def _where(selection: Selection) -> str:
    return f" after {float(selection.start):g} s" if selection.start else ""


def _origin(container: InputContainer) -> Fraction:
    """Stamp of time 0 in seconds: the picture's beginning if there is a picture."""
    stream = (*container.streams.video, *container.streams.audio)[0]
    return (stream.start_time or 0) * (stream.time_base or Fraction(0))


def _at_rate(
    container: InputContainer, selection: Selection, fps: Fraction
) -> Iterator[VideoFrame]:
    """The frame on screen at every start + i/fps, for as long as the track lasts."""
    origin = _origin(container) + selection.start
    # Containers round stamps to a millisecond; a frame that much late is still the one meant.
    slack = min(Fraction(2, 1000), 1 / (4 * fps))
    limit = None if selection.seconds is None else round(selection.seconds * fps)
    taken, previous = 0, None
    for frame, time in _stamped(container, origin):
        while previous is not None and origin + taken / fps + slack < time and taken != limit:
            yield previous
            taken += 1
        if taken == limit:
            return
        previous = frame
    if previous is not None:
        end = _stamp(previous) + (previous.duration or 0) * (previous.time_base or Fraction(0))
        # A track too coarse to state how long its last frame lasts shows it once.
        total = max(round((end - origin) * fps), taken + 1 if _stamp(previous) >= origin else 0)
        for _ in range(taken, total if limit is None else min(total, limit)):
            yield previous


def _stamped(container: InputContainer, start: Fraction) -> Iterator[tuple[VideoFrame, Fraction]]:
    """Frames with their time stamps in seconds, from the last key frame before ``start`` on."""
    stream = container.streams.video[0]
    if stream.time_base and start > _origin(container):
        container.seek(int(start / stream.time_base), stream=stream)
    for frame in container.decode(stream):
        yield frame, _stamp(frame)


def _stamp(frame: VideoFrame) -> Fraction:
    return (frame.pts or 0) * (frame.time_base or Fraction(0))


def _pixels(frame: VideoFrame, size: tuple[int, int] | None) -> Frames:
    """RGB in [0, 1], upright, (height, width, 3)."""
    turns = round(frame.rotation / 90) % 4
    if size is None:
        rgb = frame.to_ndarray(format="rgb24")
    else:
        height, width = size if turns % 2 == 0 else size[::-1]
        scale = max(Fraction(height, frame.height), Fraction(width, frame.width))
        tall, wide = (
            max(height, round(frame.height * scale)),
            max(width, round(frame.width * scale)),
        )
        rgb = frame.reformat(wide, tall, "rgb24", interpolation="AREA").to_ndarray()
        top, left = (tall - height) // 2, (wide - width) // 2
        rgb = rgb[top : top + height, left : left + width]
    return np.rot90(rgb, turns).astype(np.float32) / np.float32(255)


def _mixed(container: InputContainer) -> tuple[Waveform, int]:
    """The whole sound track as one channel from time 0 on, with its rate."""
    stream = container.streams.audio[0]
    rate, origin = stream.rate, _origin(container)
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=rate)
    parts: list[tuple[int, Waveform]] = []
    for frame in container.decode(stream):
        for mono in resampler.resample(frame):
            time = (mono.pts or 0) * (mono.time_base or Fraction(0)) - origin
            parts.append((round(time * rate), mono.to_ndarray()[0]))
    length = max((at + len(part) for at, part in parts), default=0)
    waveform = np.zeros(max(length, 0), np.float32)
    for at, part in parts:
        heard = part[max(0, -at) :]
        waveform[max(0, at) : max(0, at) + len(heard)] = heard
    return np.clip(waveform, -1, 1), rate
