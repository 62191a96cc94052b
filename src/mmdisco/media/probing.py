"""What a file says of itself, before anything of it is decoded; and why it is of no use.

Never hangs and fills no memory: pipes and devices are not opened, and packets are only looked at
near the end of a file, or where it does not state its length.
"""

import stat
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import av.error
from av.container import InputContainer

from mmdisco.errors import UserError
from mmdisco.media.decoding import opened, origin

LEAST_SIDE: Final = 16  # pixels; smaller pictures show nothing
MOST_SIDE: Final = 16_384
MOST_PIXELS: Final = 8192 * 8192
_TAIL: Final = Fraction(3)  # seconds before the end where packets are looked at
_TOLERANCE: Final = Fraction(1)  # seconds by which a whole file may end early
_TRUSTED: Final = ("mp4", "matroska", "avi")  # formats that state a length and do not guess it


@dataclass(frozen=True)
class Fault:
    """Why a file or a clip is left out.

    Attributes:
        reason: One of a few, to be counted.
        detail: What there is to say about this one; may be empty.
    """

    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Film:
    """A file with picture and sound.

    Attributes:
        seconds: How long the picture lasts.
        bytes: Size of the file.
    """

    seconds: Fraction
    bytes: int


def probe(path: Path) -> Film | Fault:
    """Look at a file.

    Returns:
        What it is, or why it is none that clips with sound can be taken from.
    """
    try:
        status = path.stat()
    except OSError as error:
        broken = path.is_symlink()
        return Fault("broken link" if broken else "unreadable", error.strerror or str(error))
    if not stat.S_ISREG(status.st_mode):
        return Fault("not a file")
    if not status.st_size:
        return Fault("empty file")
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        return Fault("unreadable", error.strerror or str(error))
    try:
        with opened(path) as container:
            return _judged(container, status.st_size)
    except UserError as error:
        return Fault("undecodable", _without(path, str(error)))


def _judged(container: InputContainer, size: int) -> Film | Fault:
    if not container.streams.video:
        return Fault("no picture track")
    if not container.streams.audio:
        return Fault("no sound track")
    picture = container.streams.video[0]
    sides = (picture.width, picture.height)
    said = f"{sides[0]}x{sides[1]}"
    if max(sides) > MOST_SIDE or sides[0] * sides[1] > MOST_PIXELS:
        return Fault("picture too large", said)
    if min(sides) < LEAST_SIDE:
        return Fault("picture too small", said)
    picture_end, end, sounds = _ends(container)
    if not sounds:
        return Fault("empty sound track")
    stated = _stated(container)
    trusted = any(name in container.format.name for name in _TRUSTED)
    if trusted and stated is not None and end < stated - _TOLERANCE:
        told = f"ends at {float(end):.1f} s of {float(stated):.1f} s"
        return Fault("cut short", told)
    return Film(picture_end, size)


def _ends(container: InputContainer) -> tuple[Fraction, Fraction, bool]:
    """Where the picture and the last of both tracks end, and whether there is sound at all."""
    zero = origin(container)
    picture, sound = container.streams.video[0], container.streams.audio[0]
    sounds = _has_packets(container)
    stated = _stated(container)
    if stated is not None and stated > 2 * _TAIL:
        _seek(container, zero + stated - _TAIL)
    else:
        _seek(container, zero)
    found = _last(container, zero)
    if picture.index not in found:  # the picture ends long before the sound, or seeking failed
        _seek(container, zero)
        found |= _last(container, zero)
    picture_end = found.get(picture.index, Fraction(0))
    return picture_end, max(picture_end, found.get(sound.index, picture_end)), sounds


def _stated(container: InputContainer) -> Fraction | None:
    """Seconds that picture and sound are said to last; of the whole file where they say nothing."""
    both = (container.streams.video[0], container.streams.audio[0])
    lengths = [one.duration * one.time_base for one in both if one.duration and one.time_base]
    if len(lengths) == len(both):
        return max(lengths)
    return None if container.duration is None else Fraction(container.duration, av.time_base)


def _has_packets(container: InputContainer) -> bool:
    return any(packet.size for packet in container.demux(container.streams.audio[0]))


def _seek(container: InputContainer, time: Fraction) -> None:
    try:
        container.seek(int(time * av.time_base))
    except (av.error.FFmpegError, OSError):
        return


def _last(container: InputContainer, zero: Fraction) -> dict[int, Fraction]:
    """The end of the last packet of each track from here on, in seconds after time 0."""
    ends: dict[int, Fraction] = {}
    chosen = (container.streams.video[0], container.streams.audio[0])
    for packet in container.demux(*chosen):
        stamp = packet.pts if packet.pts is not None else packet.dts
        if packet.size and stamp is not None:
            end = (stamp + (packet.duration or 0)) * packet.time_base - zero
            ends[packet.stream_index] = max(ends.get(packet.stream_index, end), end)
    return ends


def _without(path: Path, message: str) -> str:
    """The message without the name, which the report gives itself."""
    return message.replace(str(path), "").replace("cannot read :", "").strip()
