"""Frames and sound of an opened file by their time stamps, through PyAV.

Time 0 and the passage of time are defined in ``clock``, the look of a frame in ``geometry``. A
reader that starts in the middle seeks to a little before its position; where a file cannot be
sought in, it reads from the beginning, so the output is the same.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain
from typing import Final

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from mmdisco.media.clip import Waveform
from mmdisco.media.clock import UNSTATED_RATE, Clock, clock_of
from mmdisco.media.mixing import Channels, Mixer
from mmdisco.media.opening import expect_room, path_of, picture_track, sound_track

_STEPS_BACK: Final = (
    Fraction(0),
    Fraction(5),
    Fraction(30),
)  # seconds, until a seek is early enough
_LEAD: Final = Fraction(1, 2)  # seconds of audio until a decoder has settled
_JITTER: Final = Fraction(1, 50)  # seconds; stamps of audio are rounded, but audio has no seams


@dataclass
class DecodeErrors:
    """Places where a track could not be decoded, filled while it is read.

    Attributes:
        spans: First and last second of each such place, after time 0.
    """

    spans: list[tuple[Fraction, Fraction]] = field(default_factory=list)

    def within(self, start: Fraction, end: Fraction) -> bool:
        """Whether any such place lies between two times."""
        return any(first < end and last >= start for first, last in self.spans)


def frames_at(
    container: InputContainer,
    times: Iterable[Fraction],
    step: Fraction,
    damage: DecodeErrors | None = None,
) -> Iterator[VideoFrame]:
    """Yield the frame that is on screen at each of ``times``, as long as the video lasts.

    Args:
        container: An opened file.
        times: Seconds after time 0, rising; may be endless. Frames are decoded as they are asked
            for, each once.
        step: Seconds for which a frame of the result will be shown. A remainder of the track
            shorter than half of it is left out.
        damage: Records what cannot be decoded; without it that is an error.

    Raises:
        UserError: Something cannot be decoded, and there is no ``damage``.
    """
    wanted = iter(times)
    time = next(wanted, None)
    if time is None:
        return
    # Containers round stamps to a millisecond; a frame that is late by so much still counts.
    slack = min(Fraction(2, 1000), step / 4)
    begin, end, previous = time, Fraction(0), None
    track = _Track(container, picture_track(container), clock_of(container), damage)
    for frame, stamp in _pictures(track, begin + slack):
        while previous is not None and time + slack < stamp:
            yield previous
            time = next(wanted, None)
            if time is None:
                return
        previous = frame
        end = stamp + (frame.duration or 0) * (frame.time_base or Fraction(0))
        if begin <= stamp and time <= stamp + slack:
            # A last frame whose duration the track does not state is shown once.
            end = max(end, time + step)
    end = max(end, track.repeated)
    while previous is not None and end - time > step / 2:
        yield previous
        time = next(wanted, None)
        if time is None:
            return


def sound(
    container: InputContainer,
    start: Fraction = Fraction(0),
    seconds: Fraction | None = None,
    damage: DecodeErrors | None = None,
    number: int | None = None,
) -> tuple[Waveform, int]:
    """Return the sound from ``start`` on as one channel, and its rate.

    A late track begins with silence; gaps in it are silent. The result is shorter where the track
    ends early.

    Args:
        container: An opened file with an audio track.
        start: Seconds after time 0.
        seconds: Maximal length.
        damage: As for ``frames_at``.
        number: Number of the audio track, from 1; None is the one that a player plays.

    Raises:
        UserError: As for ``frames_at``, or the sound does not fit into memory.
        ValueError: A sample is not a number.
    """
    rate = sound_track(container, number).rate
    return channels(container, Mixer(rate), rate, start, seconds, damage, number)[0], rate


def channels(
    container: InputContainer,
    mixer: Mixer,
    rate: int,
    start: Fraction = Fraction(0),
    seconds: Fraction | None = None,
    damage: DecodeErrors | None = None,
    number: int | None = None,
) -> Channels:
    """Return the same as ``sound``, with the channels and the rate of a mixer."""
    stream = sound_track(container, number)
    track = _Track(container, stream, clock_of(container, number), damage)
    path = path_of(container)
    limit = None if seconds is None else round(seconds * rate)
    if limit is None and stream.duration:
        expect_room(path, round(stream.duration * (stream.time_base or 0) * rate), 4, "samples")
    expect_room(path, limit or 0, 4, "samples")
    parts: list[tuple[int, Channels]] = []
    length = 0
    for at, block in _placed(track, start, mixer, rate):
        if limit is not None and at >= limit:
            break
        if at + block.shape[1] > 0:
            parts.append((at, block))
            length = max(length, at + block.shape[1])
            expect_room(path, length, 4, "samples")
    samples = length if limit is None else min(length, limit)
    waveform = np.zeros((len(parts[0][1]) if parts else 1, samples), np.float32)
    for at, part in parts:
        heard = part[:, max(0, -at) : max(0, samples - at)]
        waveform[:, max(0, at) : max(0, at) + heard.shape[1]] = heard
    if not np.isfinite(waveform).all():
        raise ValueError("its sound has samples that are not numbers")
    return np.clip(waveform, -1, 1)


@dataclass
class _Track:
    """A track that is being decoded.

    Attributes:
        repeated: End, in seconds, of the packets that only repeat the last frame.
    """

    container: InputContainer
    stream: VideoStream | AudioStream
    clock: Clock
    damage: DecodeErrors | None
    repeated: Fraction = Fraction(0)


def _pictures(track: _Track, since: Fraction) -> Iterator[tuple[VideoFrame, Fraction]]:
    assert isinstance(track.stream, VideoStream)
    track.stream.thread_type = "AUTO"
    rate = track.stream.average_rate or UNSTATED_RATE
    for frame, stamp in _sought(track, since, 1 / rate):
        assert isinstance(frame, VideoFrame)
        if track.damage is not None and frame.is_corrupt:
            track.damage.spans.append((stamp, stamp))
        yield frame, stamp


def _placed(
    track: _Track, start: Fraction, mixer: Mixer, rate: int
) -> Iterator[tuple[int, Channels]]:
    """Yield blocks, each with the index of its first sample counted from ``start``."""
    after: int | None = None
    for frame, stamp in _sought(track, max(Fraction(0), start - _LEAD), Fraction(0)):
        assert isinstance(frame, AudioFrame)
        at = round((stamp - start) * rate)
        if after is not None and abs(at - after) <= _JITTER * rate:
            at = after
        for block in mixer.mixed(frame):
            yield at, block
            at += block.shape[1]
        after = at
    for block in mixer.rest():
        yield after or 0, block
        after = (after or 0) + block.shape[1]


def _sought(
    track: _Track, since: Fraction, step: Fraction
) -> Iterator[tuple[VideoFrame | AudioFrame, Fraction]]:
    """Yield decoded frames with their seconds after time 0, the first at or before ``since``."""
    zero = track.clock.zero
    for back in _STEPS_BACK:
        if since - back <= 0 or track.clock.joined:
            break
        try:
            track.container.seek(int((zero + since - back) * av.time_base))
        except (av.error.FFmpegError, OSError):
            break
        found = _stamped(track, step, sought=True)
        first = next(found, None)
        if first is not None and first[1] <= since:
            yield from chain((first,), found)
            return
        if track.damage is not None:
            track.damage.spans.clear()
    if since > 0 and not track.clock.joined:
        track.container.seek(0 if zero >= 0 else int(zero * av.time_base))
    yield from _stamped(track, step, sought=False)


def _stamped(
    track: _Track, step: Fraction, *, sought: bool
) -> Iterator[tuple[VideoFrame | AudioFrame, Fraction]]:
    latest: Fraction | None = None
    zero = track.clock.zero
    for packet in track.clock.packets(track.container, track.stream):
        stamp = packet.pts if packet.pts is not None else packet.dts
        here = None if stamp is None else stamp * packet.time_base - zero
        if not packet.size and here is not None:
            # the frame before is shown on; to a decoder it would be the end of the track
            until = here + (packet.duration or 0) * packet.time_base
            track.repeated = max(track.repeated, until)
            continue
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            if track.damage is None:
                raise
            near = latest if latest is not None else (here or Fraction(0))
            track.damage.spans.append((near, max(near, here or near)))
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
