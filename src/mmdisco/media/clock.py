"""Times at which the frames and samples of a file are shown and played.

Time stamps are specific to a container: they may begin anywhere, restart where parts were
concatenated (transport streams, Ogg), and count by a clock that says nothing about the frame
rate. ``Clock`` converts them to seconds after time 0: the first frame, or the first sample
without a video track.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import islice, pairwise
from pathlib import Path
from typing import Final

from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from mmdisco.errors import UserError
from mmdisco.media.mixing import AnyPacket
from mmdisco.media.opening import opened, path_of, picture_track, pictures, sound_track

UNSTATED_RATE: Final = Fraction(25)
_HIGHEST_STATED: Final = Fraction(120)  # frames per second; a higher one may be that of a clock
_MEASURED: Final = 600  # packets from which a rate is measured
# relative difference at which a stated rate still matches the measured one
_ALIKE: Final = Fraction(1, 100)
_BACK: Final = Fraction(1, 10)  # seconds; stamps of one track that go back by more are a restart
_FORTH: Final = Fraction(10)  # seconds; so are those that jump ahead by more
_JOINABLE: Final = ("mpeg", "ogg")  # formats whose files may be concatenated
_TAIL: Final = Fraction(15, 100)  # seconds that a codec may add to the sound at either end


@dataclass(frozen=True)
class Clock:
    """Conversion of time stamps to seconds.

    Attributes:
        zero: Stamp of time 0, in seconds.
        shifts: Seconds to add to the stamps of each concatenated part; (0,) for one part.
    """

    zero: Fraction
    shifts: tuple[Fraction, ...] = (Fraction(0),)

    @property
    def joined(self) -> bool:
        """Whether stamps restart within the file, so that no position can be sought by them."""
        return len(self.shifts) > 1

    def packets(
        self, container: InputContainer, *streams: VideoStream | AudioStream
    ) -> Iterator[AnyPacket]:
        """Yield the packets of tracks, with stamps that never jump.

        Reading begins at the container's present position.

        Raises:
            UserError: There are more parts than before.
        """
        parts = _Parts()
        for packet in container.demux(*streams):
            if self.joined:
                part = parts.of(packet)
                if part >= len(self.shifts):
                    raise UserError(f"{path_of(container)} has stamps that jump")
                shift = round(self.shifts[part] / packet.time_base)
                packet.pts = None if packet.pts is None else packet.pts + shift
                packet.dts = None if packet.dts is None else packet.dts + shift
            yield packet


def clock_of(container: InputContainer, sound: int | None = None) -> Clock:
    """Return the clock of an opened file and of its audio track of a given number.

    Raises:
        UserError: Stamps jump, and not in video and audio alike.
    """
    path = path_of(container)
    status = path.stat()
    return _clock(path.absolute(), status.st_size, status.st_mtime_ns, sound)


def rate_of(container: InputContainer) -> Fraction:
    """Return the frame rate: as stated, unless that is only the clock of the stamps."""
    stated = picture_track(container).average_rate
    if stated is not None and 0 < stated <= _HIGHEST_STATED:
        return stated
    path = path_of(container)
    status = path.stat()
    measured = _measured(path.absolute(), status.st_size, status.st_mtime_ns)
    if measured is None:
        return UNSTATED_RATE
    near = stated is not None and abs(stated - measured) <= _ALIKE * measured
    return stated if near and stated is not None else measured


class _Parts:
    """Counter, for each track, of how often its stamps restart."""

    def __init__(self) -> None:
        self._part: dict[int, int] = {}
        self._last: dict[int, Fraction] = {}

    def of(self, packet: AnyPacket) -> int:
        """Return the part that a packet belongs to, from 0."""
        index = packet.stream_index
        part = self._part.setdefault(index, 0)
        if packet.dts is None:
            return part
        stamp = packet.dts * packet.time_base
        last = self._last.get(index, stamp)
        self._last[index] = stamp
        if not last - _BACK <= stamp <= last + _FORTH:
            self._part[index] = part = part + 1
        return part


@lru_cache(maxsize=4096)
def _clock(path: Path, size: int, changed: int, sound: int | None) -> Clock:
    del size, changed  # they distinguish a file from a later one of the same name
    with opened(path) as container:
        zero = _zero(container, sound)
        if not any(name in container.format.name for name in _JOINABLE):
            return Clock(zero)
    with opened(path) as container:  # from its beginning again
        return Clock(zero, _shifts(container, sound))


def _zero(container: InputContainer, sound: int | None) -> Fraction:
    if pictures(container):
        stream: VideoStream | AudioStream = picture_track(container)
        if stream.start_time is not None:
            return stream.start_time * (stream.time_base or Fraction(0))
    else:
        # the stated beginning may be that of samples which a decoder drops
        stream = sound_track(container, sound)
    for packet in container.demux(stream):
        if packet.size:
            for frame in packet.decode():
                assert isinstance(frame, VideoFrame | AudioFrame)
                if frame.pts is not None:
                    return frame.pts * (frame.time_base or Fraction(0))
    return Fraction(0)


def _shifts(container: InputContainer, sound: int | None) -> tuple[Fraction, ...]:
    """Return the shift of each part's stamps by which it begins where the one before ends."""
    streams: list[VideoStream | AudioStream] = []
    if pictures(container):
        streams.append(picture_track(container))
    if container.streams.audio:
        streams.append(sound_track(container, sound))
    spans: dict[int, list[tuple[Fraction, Fraction]]] = {one.index: [] for one in streams}
    parts = _Parts()
    for packet in container.demux(*streams):
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None:
            continue
        begin = stamp * packet.time_base
        end = begin + (packet.duration or 0) * packet.time_base
        mine, part = spans[packet.stream_index], parts.of(packet)
        if part == len(mine):
            mine.append((begin, end))
        mine[part] = (min(mine[part][0], begin), max(mine[part][1], end))
    return _joined(path_of(container), [found for found in spans.values() if found])


def _joined(path: Path, tracks: list[list[tuple[Fraction, Fraction]]]) -> tuple[Fraction, ...]:
    if len({len(found) for found in tracks}) > 1:
        raise UserError(f"{path} has stamps that jump, and not in picture and sound alike")
    shifts = [Fraction(0)]
    wholes = [_whole(list(spans)) for spans in zip(*tracks, strict=True)]
    for before, after in pairwise(wholes):
        shifts.append(shifts[-1] + before[1] - after[0])
    return tuple(shifts)


def _whole(spans: list[tuple[Fraction, Fraction]]) -> tuple[Fraction, Fraction]:
    """Return begin and end of a part: its video's, unless the audio lasts much longer."""
    begin, end = spans[0]
    for first, last in spans[1:]:
        begin = first if first < begin - _TAIL else begin
        end = last if last > end + _TAIL else end
    return begin, end


@lru_cache(maxsize=4096)
def _measured(path: Path, size: int, changed: int) -> Fraction | None:
    del size, changed
    with opened(path) as container:
        packets = islice(container.demux(picture_track(container)), _MEASURED)
        stamps = sorted(p.pts * p.time_base for p in packets if p.size and p.pts is not None)
    if len(stamps) < 2 or stamps[-1] == stamps[0]:
        return None
    return ((len(stamps) - 1) / (stamps[-1] - stamps[0])).limit_denominator(1001)
