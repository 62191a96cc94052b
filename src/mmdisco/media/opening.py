"""Opening of files of any container and codec that FFmpeg knows, and the choice of tracks.

Any failure within one file, FFmpeg's errors and all others, becomes one line that names it.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar, cast

import av
import av.error
from av.audio.stream import AudioStream
from av.codec.context import CodecContext
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from mmdisco.errors import UserError

MOST_SIDE: Final = 16_384
MOST_PIXELS: Final = 8192 * 8192
MOST_BYTES: Final = 4 * 2**30  # of frames or samples that one reading may ask for
_PROTOCOL: Final = "file:"
# a playlist must not lead to other files or to the network
_OPTIONS: Final = {"protocol_whitelist": "file"}
_S = TypeVar("_S", VideoStream, AudioStream)
_NO_PICTURES: Final = Disposition.attached_pic | Disposition.timed_thumbnails
_ASIDE: Final = Disposition.comment | Disposition.visual_impaired | Disposition.hearing_impaired


def url(path: Path) -> str:
    """Return ``path`` with the protocol ``file`` before it.

    FFmpeg takes a bare name for a URL: for "talk: part 1.mp4" it would look up a protocol
    "talk", and "concat:a|b" it would concatenate.
    """
    return f"{_PROTOCOL}{path}"


@contextmanager
def opened(path: Path) -> Generator[InputContainer]:
    """Open the file at ``path``; any failure becomes one clear line.

    Raises:
        UserError: It cannot be read.
    """
    try:
        with av.open(url(path), options=_OPTIONS, metadata_errors="replace") as container:
            yield container
    except UserError:
        raise
    except (av.error.FFmpegError, OSError) as error:
        reason = error.strerror or "not a media file"
        raise UserError(f"cannot read {path}: {reason[:1].lower()}{reason[1:]}") from error
    except Exception as error:  # a file may be wrong in ways that no library foresees
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"cannot read {path}: {reason}") from error


def path_of(container: InputContainer) -> Path:
    """Return the path that ``opened`` was given."""
    return Path(container.name.removeprefix(_PROTOCOL))


def pictures(container: InputContainer) -> list[VideoStream]:
    """Return the video tracks; a cover or a thumbnail is none."""
    return [one for one in container.streams.video if not one.disposition & _NO_PICTURES]


def picture_track(container: InputContainer) -> VideoStream:
    """Return the video track that a player shows: the default one, or else the first.

    Raises:
        UserError: There is none, none can be decoded, or it is too large.
    """
    found = pictures(container)
    if not found:
        raise UserError(f"{path_of(container)} has no picture track")
    stream = _played([one for one in found if _known(one)])
    if stream is None:
        raise UserError(f"{path_of(container)} has a picture of an unknown codec")
    width, height = stream.width, stream.height
    if max(width, height) > MOST_SIDE or width * height > MOST_PIXELS:
        raise UserError(f"{path_of(container)} has too large a picture: {width}x{height}")
    if not stream.codec_context.is_open:
        # also for frames that are larger than the first
        stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
    return stream


def sound_track(container: InputContainer, number: int | None = None) -> AudioStream:
    """Return a numbered audio track, or the one a player plays: the default, or else the first.

    Args:
        container: An opened file.
        number: Number of the audio track, from 1; None is a player's choice.

    Raises:
        UserError: There is none, not as many, or none can be decoded.
    """
    found = container.streams.audio
    if not found:
        raise UserError(f"{path_of(container)} has no sound track")
    if number is not None and not 1 <= number <= len(found):
        many = "1 sound track" if len(found) == 1 else f"{len(found)} sound tracks"
        raise UserError(f"{path_of(container)} has {many}, no track {number}")
    wanted = list(found) if number is None else [found[number - 1]]
    stream = _played([one for one in wanted if _known(one)])
    if stream is None:
        raise UserError(f"{path_of(container)} has a sound of an unknown codec")
    return stream


def expect_room(path: Path, count: int, each: int, what: str) -> None:
    """Check that data fits into memory before the memory is allocated.

    Args:
        path: The file.
        count: Number of frames or samples.
        each: Bytes of one.
        what: Their name, for the message.

    Raises:
        UserError: It does not fit.
    """
    size = count * each
    if size > MOST_BYTES:
        raise UserError(
            f"{path}: {count} {what} would take {size / 2**30:.1f} GiB of memory, more than "
            f"{MOST_BYTES // 2**30}: read fewer seconds, a smaller size or a lower rate"
        )


def _known(stream: VideoStream | AudioStream) -> bool:
    return cast("CodecContext | None", stream.codec_context) is not None


def _played(streams: Sequence[_S]) -> _S | None:
    def rank(stream: _S) -> tuple[bool, bool]:
        kind = stream.disposition
        return not kind & Disposition.default, bool(kind & _ASIDE)

    return min(streams, key=rank, default=None)
