"""Metadata of a file before anything of it is decoded, and reasons to skip it.

Never hangs and fills no memory: pipes and devices are not opened, and packets are only read
near the end of a file, or where it does not state its length.
"""

import stat
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream

from mmdisco.errors import UserError
from mmdisco.media.clock import Clock, clock_of
from mmdisco.media.geometry import stated_hdr
from mmdisco.media.opening import (
    MOST_PIXELS,
    MOST_SIDE,
    opened,
    picture_track,
    pictures,
    sound_track,
)

LEAST_SIDE: Final = 16  # pixels; smaller frames show nothing
_LONGEST: Final = Fraction(100 * 3600)  # seconds; stamps beyond it are damaged
_TAIL: Final = Fraction(3)  # seconds before the end where packets are read
_TOLERANCE: Final = Fraction(1)  # seconds by which a complete file may end early
_TRUSTED: Final = ("mp4", "matroska", "avi")  # formats that state a length and do not guess it


@dataclass(frozen=True)
class SkipReason:
    """Reason for which a file or a clip is skipped.

    Attributes:
        category: One of a few, to be counted.
        detail: Details of this case; may be empty.
    """

    category: str
    detail: str = ""


@dataclass(frozen=True)
class VideoInfo:
    """A file with a video and an audio track.

    Attributes:
        seconds: Length of the video.
        bytes: Size of the file.
    """

    seconds: Fraction
    bytes: int


def probe(path: Path, audio_track: int | None = None) -> VideoInfo | SkipReason:
    """Check whether clips with sound can be taken from a file.

    Args:
        path: The file.
        audio_track: Number of the audio track, from 1; None is the one that a player plays.

    Returns:
        Its length and size, or the reason to skip it.
    """
    try:
        status = path.stat()
    except OSError as error:
        broken = path.is_symlink()
        return SkipReason("broken link" if broken else "unreadable", error.strerror or str(error))
    if not stat.S_ISREG(status.st_mode):
        return SkipReason("not a file")
    if not status.st_size:
        return SkipReason("empty file")
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        return SkipReason("unreadable", error.strerror or str(error))
    try:
        with opened(path) as container:
            return _probed(container, status.st_size, audio_track)
    except UserError as error:
        return SkipReason("undecodable", without_path(path, str(error)))


def _probed(
    container: InputContainer, size: int, audio_track: int | None
) -> VideoInfo | SkipReason:
    if not pictures(container):
        return SkipReason("no picture track")
    if not container.streams.audio:
        return SkipReason("no sound track")
    first = pictures(container)[0]
    if max(first.width, first.height) > MOST_SIDE or first.width * first.height > MOST_PIXELS:
        return SkipReason("picture too large", f"{first.width}x{first.height}")
    picture, sound = picture_track(container), sound_track(container, audio_track)
    if min(picture.width, picture.height) < LEAST_SIDE:
        return SkipReason("picture too small", f"{picture.width}x{picture.height}")
    kind = stated_hdr(picture)
    if kind is not None:
        return SkipReason("HDR picture", f"{kind}; bring it to BT.709 first")
    film = _Look(container, picture, sound, clock_of(container, audio_track))
    picture_end, end, sounds = _ends(film)
    if not sounds:
        return SkipReason("empty sound track")
    stated = _stated(film)
    trusted = any(name in container.format.name for name in _TRUSTED)
    # Matroska may state the time of the last stamp, not how long the file lasts
    last = max(end, end + film.clock.zero)
    if trusted and stated is not None and last < stated - _TOLERANCE:
        return SkipReason("cut short", f"ends at {float(end):.1f} s of {float(stated):.1f} s")
    if picture_end > _LONGEST:
        return SkipReason(
            "undecodable", f"its time stamps span {float(picture_end / 3600):.0f} hours"
        )
    return VideoInfo(picture_end, size)


@dataclass(frozen=True)
class _Look:
    """An opened file and its tracks in use."""

    container: InputContainer
    picture: VideoStream
    sound: AudioStream
    clock: Clock


def _ends(film: _Look) -> tuple[Fraction, Fraction, bool]:
    """Return the end of the video, the end of both tracks, and whether there is sound at all."""
    zero = film.clock.zero
    sounds = any(packet.size for packet in film.container.demux(film.sound))
    stated = _stated(film)
    if stated is not None and stated > 2 * _TAIL and not film.clock.joined:
        _seek(film.container, zero + stated - _TAIL)
    else:
        _seek(film.container, zero)
    found = _last(film)
    if film.picture.index not in found:  # it ends long before the sound, or seeking failed
        _seek(film.container, zero)
        found |= _last(film)
    picture_end = found.get(film.picture.index, Fraction(0))
    return picture_end, max(picture_end, found.get(film.sound.index, picture_end)), sounds


def _stated(film: _Look) -> Fraction | None:
    """Return the stated length of video and audio, or that of the whole file."""
    both = (film.picture, film.sound)
    lengths = [one.duration * one.time_base for one in both if one.duration and one.time_base]
    if len(lengths) == len(both):
        return max(lengths)
    whole = film.container.duration
    return None if whole is None else Fraction(whole, av.time_base)


def _seek(container: InputContainer, time: Fraction) -> None:
    try:
        container.seek(int(time * av.time_base))
    except (av.error.FFmpegError, OSError):
        return


def _last(film: _Look) -> dict[int, Fraction]:
    """Return the end of each track's last packet from here on, in seconds after time 0."""
    ends: dict[int, Fraction] = {}
    for packet in film.clock.packets(film.container, film.picture, film.sound):
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is not None and (packet.size or packet.stream_index == film.picture.index):
            end = (stamp + (packet.duration or 0)) * packet.time_base - film.clock.zero
            ends[packet.stream_index] = max(ends.get(packet.stream_index, end), end)
    return ends


def without_path(path: Path, message: str) -> str:
    """Return the message without the file's name, which the report contains anyway."""
    return message.replace(str(path), "").replace("cannot read :", "").lstrip(": ")
