"""Frames and sound of an opened file by their time stamps. Knows PyAV; knows no clip and no rate.

Time 0 is the stamp of the first frame, or of the first sample of a file without pictures. A reader
that starts in the middle seeks to a little before its place; where a file cannot be sought in, it
reads from the beginning, so what comes out is the same.
"""

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, Final

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from mmdisco.errors import UserError
from mmdisco.media.clip import Frames, Waveform

UNSTATED_RATE: Final = Fraction(25)
# a playlist must not lead to other files or into the net
_OPTIONS: Final = {"protocol_whitelist": "file"}
_STEPS_BACK: Final = (
    Fraction(0),
    Fraction(5),
    Fraction(30),
)  # seconds, until a seek is early enough
_LEAD: Final = Fraction(1, 2)  # seconds of sound that settle a decoder before it is listened to
_JITTER: Final = Fraction(1, 50)  # seconds; stamps of sound are rounded, but sound has no seams
_SLIMMEST: Final = 4  # sides that differ more are cut before they are scaled, lest they fill memory


@dataclass
class Damage:
    """Where a track could not be decoded, filled while it is read.

    Attributes:
        spans: First and last second of each such place, after time 0.
    """

    spans: list[tuple[Fraction, Fraction]] = field(default_factory=list)

    def within(self, start: Fraction, end: Fraction) -> bool:
        """Whether any of it lies between two times."""
        return any(first < end and last >= start for first, last in self.spans)


@contextmanager
def opened(path: Path) -> Generator[InputContainer]:
    """The file at ``path``; whatever FFmpeg cannot do with it becomes one clear line.

    Raises:
        UserError: It cannot be read.
    """
    try:
        with av.open(str(path), options=_OPTIONS, metadata_errors="replace") as container:
            yield container
    except (av.error.FFmpegError, OSError) as error:
        reason = error.strerror or "not a media file"
        raise UserError(f"cannot read {path}: {reason[:1].lower()}{reason[1:]}") from error


def origin(container: InputContainer) -> Fraction:
    """Stamp of time 0 in seconds: the picture's beginning if there is a picture."""
    stream = (*container.streams.video, *container.streams.audio)[0]
    return (stream.start_time or 0) * (stream.time_base or Fraction(0))


def on_screen(
    container: InputContainer,
    times: Iterable[Fraction],
    step: Fraction,
    damage: Damage | None = None,
) -> Iterator[VideoFrame]:
    """The frame that is on screen at each of ``times``, for as long as the picture lasts.

    Args:
        container: An opened file.
        times: Seconds after time 0, rising; may be endless. Frames are decoded as they are asked
            for, each once.
        step: Seconds for which a frame of the result will be shown. What lasts less than half of it
            beyond the end of the track is left out.
        damage: Takes note of what cannot be decoded; without it that is an error.

    Raises:
        UserError: Something cannot be decoded, and there is no ``damage``.
    """
    zero = origin(container)
    wanted = iter(times)
    time = next(wanted, None)
    if time is None:
        return
    # Containers round stamps to a millisecond; a frame that much late is still the one meant.
    slack = min(Fraction(2, 1000), step / 4)
    begin, end, previous = time, Fraction(0), None
    for frame, stamp in _pictures(container, zero, begin + slack, damage):
        while previous is not None and time + slack < stamp:
            yield previous
            time = next(wanted, None)
            if time is None:
                return
        previous = frame
        end = stamp + (frame.duration or 0) * (frame.time_base or Fraction(0))
        if begin <= stamp and time <= stamp + slack:
            # A track too coarse to state how long its last frame lasts shows it once.
            end = max(end, time + step)
    while previous is not None and end - time > step / 2:
        yield previous
        time = next(wanted, None)
        if time is None:
            return


def sound(
    container: InputContainer,
    start: Fraction = Fraction(0),
    seconds: Fraction | None = None,
    damage: Damage | None = None,
) -> tuple[Waveform, int]:
    """The sound from ``start`` on as one channel, with its rate; shorter where the track ends.

    A late track begins with silence; holes in it are silent.

    Args:
        container: An opened file with a sound track.
        start: Seconds after time 0.
        seconds: At most so many.
        damage: As for ``on_screen``.

    Raises:
        UserError: As for ``on_screen``.
    """
    stream = container.streams.audio[0]
    rate, zero = stream.rate, origin(container)
    mono = av.AudioResampler(format="fltp", layout="mono", rate=rate)
    limit = None if seconds is None else round(seconds * rate)
    parts: list[tuple[int, Waveform]] = []
    after: int | None = None
    for frame, stamp in _sounds(container, stream, zero, start, damage):
        at = round((stamp - start) * rate)
        if after is not None and abs(at - after) <= _JITTER * rate:
            at = after
        if limit is not None and at >= limit:
            break
        for block in _mixed(mono, frame):
            if at + len(block) > 0:
                parts.append((at, block))
            at += len(block)
        after = at
    length = max((at + len(part) for at, part in parts), default=0)
    waveform = np.zeros(length if limit is None else min(length, limit), np.float32)
    for at, part in parts:
        heard = part[max(0, -at) : max(0, len(waveform) - at)]
        waveform[max(0, at) : max(0, at) + len(heard)] = heard
    return np.clip(waveform, -1, 1), rate


def upright(frame: VideoFrame, size: tuple[int, int] | None) -> npt.NDArray[np.uint8]:
    """RGB bytes (height, width, 3), turned as the file says; cut from the middle and scaled."""
    turns = round(frame.rotation / 90) % 4
    if size is None:
        rgb = _bytes(frame.to_ndarray(format="rgb24"))
    else:
        rgb = _covering(frame, size if turns % 2 == 0 else (size[1], size[0]))
    return np.rot90(rgb, turns)


def pixels(frame: VideoFrame, size: tuple[int, int] | None) -> Frames:
    """As ``upright``, in [0, 1]."""
    return upright(frame, size).astype(np.float32) / np.float32(255)


def _covering(frame: VideoFrame, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    height, width = size
    frame = _less_slim(frame, height, width)
    scale = max(Fraction(height, frame.height), Fraction(width, frame.width))
    tall, wide = max(height, round(frame.height * scale)), max(width, round(frame.width * scale))
    rgb = _bytes(frame.reformat(wide, tall, "rgb24", interpolation="AREA").to_ndarray())
    top, left = (tall - height) // 2, (wide - width) // 2
    return rgb[top : top + height, left : left + width]


def _less_slim(frame: VideoFrame, height: int, width: int) -> VideoFrame:
    aspect = Fraction(frame.width * height, frame.height * width)
    if Fraction(1, _SLIMMEST) < aspect < _SLIMMEST:
        return frame
    rgb = _bytes(frame.to_ndarray(format="rgb24"))
    tall = min(frame.height, -(-frame.width * height // width))
    wide = min(frame.width, -(-frame.height * width // height))
    top, left = (frame.height - tall) // 2, (frame.width - wide) // 2
    middle = np.ascontiguousarray(rgb[top : top + tall, left : left + wide])
    return VideoFrame.from_ndarray(middle, format="rgb24")


def _bytes(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return array.astype(np.uint8, copy=False)


def _pictures(
    container: InputContainer, zero: Fraction, since: Fraction, damage: Damage | None
) -> Iterator[tuple[VideoFrame, Fraction]]:
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    rate = stream.average_rate or UNSTATED_RATE
    for frame, stamp in _sought(container, stream, zero, since, damage, 1 / rate):
        assert isinstance(frame, VideoFrame)
        if damage is not None and frame.is_corrupt:
            damage.spans.append((stamp, stamp))
        yield frame, stamp


def _sounds(
    container: InputContainer,
    stream: AudioStream,
    zero: Fraction,
    start: Fraction,
    damage: Damage | None,
) -> Iterator[tuple[AudioFrame, Fraction]]:
    since = max(Fraction(0), start - _LEAD)
    for frame, stamp in _sought(container, stream, zero, since, damage, Fraction(0)):
        assert isinstance(frame, AudioFrame)
        yield frame, stamp


def _sought(
    container: InputContainer,
    stream: VideoStream | AudioStream,
    zero: Fraction,
    since: Fraction,
    damage: Damage | None,
    step: Fraction,
) -> Iterator[tuple[VideoFrame | AudioFrame, Fraction]]:
    """Decoded frames with their seconds after time 0, the first at or before ``since``."""
    for back in _STEPS_BACK:
        if since - back <= 0:
            break
        try:
            container.seek(int((zero + since - back) * av.time_base))
        except (av.error.FFmpegError, OSError):
            break
        found = _stamped(container, stream, zero, damage, step, sought=True)
        first = next(found, None)
        if first is not None and first[1] <= since:
            yield from chain((first,), found)
            return
        if damage is not None:
            damage.spans.clear()
    if since > 0:
        container.seek(0 if zero >= 0 else int(zero * av.time_base))
    yield from _stamped(container, stream, zero, damage, step, sought=False)


def _stamped(
    container: InputContainer,
    stream: VideoStream | AudioStream,
    zero: Fraction,
    damage: Damage | None,
    step: Fraction,
    *,
    sought: bool,
) -> Iterator[tuple[VideoFrame | AudioFrame, Fraction]]:
    latest: Fraction | None = None
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            if damage is None:
                raise
            told = packet.pts if packet.pts is not None else packet.dts
            here = None if told is None else told * packet.time_base - zero
            near = latest if latest is not None else (here or Fraction(0))
            damage.spans.append((near, max(near, here or near)))
            continue
        for frame in frames:
            assert isinstance(frame, VideoFrame | AudioFrame)
            if frame.pts is not None:
                latest = frame.pts * (frame.time_base or Fraction(0)) - zero
            elif sought:
                return  # a stream without stamps does not say where it is
            else:
                latest = Fraction(0) if latest is None else latest + step
            yield frame, latest


def _mixed(resampler: av.AudioResampler, frame: AudioFrame) -> Iterator[Waveform]:
    try:
        blocks = resampler.resample(frame)
    except ValueError as error:  # the track changes its rate or channels on the way
        raise av.error.InvalidDataError(0, f"its sound changes its form: {error}") from error
    for block in blocks:
        yield block.to_ndarray()[0]
