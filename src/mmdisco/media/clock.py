"""When the frames and samples of a file are shown and played.

Stamps are a container's own: they may begin anywhere, begin anew where parts were joined end to end
(transport streams, Ogg), and count by a clock that says nothing about the rate of frames. ``Clock``
turns them into seconds after time 0: the first frame, or the first sample without a picture.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from mmdisco.errors import UserError
from mmdisco.media.opening import opened, path_of, picture_track, pictures, sound_track

if TYPE_CHECKING:
    AnyPacket = Packet[Any]
else:
    AnyPacket = Packet  # generic in its stub alone

UNSTATED_RATE: Final = Fraction(25)
_HIGHEST_STATED: Final = Fraction(120)  # frames a second; a higher one may be that of a clock
_MEASURED: Final = 600  # packets from which a rate is measured
_ALIKE: Final = Fraction(1, 100)  # by which a stated rate may differ from the measured one
_BACK: Final = Fraction(1, 10)  # seconds; stamps of one track that go back by more begin anew
_FORTH: Final = Fraction(10)  # seconds; so do those that jump ahead by more
_JOINABLE: Final = ("mpeg", "ogg")  # formats whose files may be joined end to end
_TAIL: Final = Fraction(15, 100)  # seconds that a codec may add to the sound at either end


@dataclass(frozen=True)
class Clock:
    """From stamps to seconds.

    Attributes:
        zero: Stamp of time 0, in seconds.
        shifts: Seconds to add to the stamps of each part that was joined; one part has 0.
    """

    zero: Fraction
    shifts: tuple[Fraction, ...] = (Fraction(0),)

    @property
    def joined(self) -> bool:
        """Whether stamps begin anew on the way, so that no place can be sought by them."""
        return len(self.shifts) > 1

    def packets(
        self, container: InputContainer, *streams: VideoStream | AudioStream
    ) -> Iterator[AnyPacket]:
        """The packets of tracks from where the container stands, with stamps that never jump.

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
    """The clock of an opened file, with the sound track of a number.

    Raises:
        UserError: Stamps jump, and not in picture and sound alike.
    """
    path = path_of(container)
    status = path.stat()
    return _clock(path.absolute(), status.st_size, status.st_mtime_ns, sound)


def rate_of(container: InputContainer) -> Fraction:
    """Frames a second of the picture: as stated, unless that is only the clock of the stamps."""
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
    """Counts, for each track, how often its stamps begin anew."""

    def __init__(self) -> None:
        self._part: dict[int, int] = {}
        self._last: dict[int, Fraction] = {}

    def of(self, packet: AnyPacket) -> int:
        """The part that a packet belongs to, from 0."""
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
    del size, changed  # they tell a file from one of the same name
    with opened(path) as container:
        zero = _zero(container, sound)
    with opened(path) as container:
        if not any(name in container.format.name for name in _JOINABLE):
            return Clock(zero)
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
    """What is added to the stamps of each part, so that it begins where the one before ends."""
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
    """Where a part begins and ends: as its picture does, unless the sound lasts much longer."""
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
