"""Writing of clips: H.264 and AAC in mp4 (also mov and mkv), 16-bit wav.

Every file appears complete or not at all: it is written beside its destination under another
name and then moved there. The same clip becomes the same bytes on every run, and the file holds
what a player needs: its index lies before the samples, so that it plays while it loads, and its
colours are declared as BT.709 of limited range. Sound beyond ±1 is scaled down as a whole.
"""

import wave
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.container import OutputContainer
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation
from av.video.stream import VideoStream

from mmdisco.errors import UserError
from mmdisco.io.files import replacing
from mmdisco.media.clip import Audio, AudioVideo, Frames, Video, bring_down
from mmdisco.media.mixing import AnyPacket, encoded
from mmdisco.media.opening import url

if TYPE_CHECKING:
    from mmdisco.media.copying import Picture, Sound

_CONTAINERS: Final = (".mp4", ".mov", ".mkv")
_QUALITY: Final = {"crf": "14"}  # small differences of colour stay visible
_INDEX_FIRST: Final = {"movflags": "+faststart"}
# the same bytes on every processor; the usual conversion rounds as the processor's instructions do
_CONVERSION: Final = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


def write_clip(
    path: Path,
    clip: AudioVideo,
    magnify: int = 1,
    picture: "Picture | None" = None,
    sound: "Sound | None" = None,
) -> None:
    """Write video and audio; frame i gets the stamp i/fps exactly, sample 0 the stamp 0.

    Args:
        path: Ends in .mp4, .mov or .mkv.
        clip: The clip. An odd height or width is extended by repeating the last row or column,
            since H.264 as players support it holds even sizes only.
        magnify: Factor of width and height of every pixel. Colour is stored at half the resolution,
            so tiny frames keep their colours only if magnified.
        picture: Video of a file that can be copied; replaces the clip's.
        sound: Audio of a file; replaces the clip's.

    Raises:
        UserError: The name has another ending, or the file cannot be written.
    """

    def tracks(container: OutputContainer) -> list[Iterator[AnyPacket]]:
        return [
            picture.copy_into(container) if picture else _picture(container, clip.video, magnify),
            sound.put_into(container, path.suffix.lower())
            if sound
            else _sound(container, clip.audio),
        ]

    _write(path, tracks)


def write_video(path: Path, video: Video, magnify: int = 1) -> None:
    """Write video without an audio track, otherwise as ``write_clip``."""
    _write(path, lambda container: [_picture(container, video, magnify)])


def expect_container(path: Path) -> None:
    """Check, before work is spent on a clip, that ``write_clip`` can write files of this name.

    Raises:
        UserError: The name has another ending.
    """
    if path.suffix.lower() not in _CONTAINERS:
        raise UserError(f"cannot write {path}: the name must end in {', '.join(_CONTAINERS)}")


def write_audio(path: Path, audio: Audio) -> None:
    """Write 16-bit wav, from which every reader gets back k/32768 unchanged.

    Raises:
        UserError: The name does not end in .wav, or the file cannot be written.
    """
    if path.suffix.lower() != ".wav":
        raise UserError(f"cannot write {path}: the name must end in .wav")
    pcm = np.clip(np.round(bring_down(audio).waveform * 32768), -32768, 32767).astype("<i2")
    with replacing(path) as temporary, wave.open(str(temporary), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(audio.sample_rate)
        file.writeframes(pcm.tobytes())


def _write(path: Path, tracks: Callable[[OutputContainer], Sequence[Iterator[AnyPacket]]]) -> None:
    with _container(path) as container:
        packets = tracks(container)
        # a track is added as its first packet is asked for, and all have to be before one is taken
        firsts = [next(own, None) for own in packets]
        for first, rest in zip(firsts, packets, strict=True):
            for packet in chain([] if first is None else [first], rest):
                container.mux(packet)


@contextmanager
def _container(path: Path) -> Generator[OutputContainer]:
    expect_container(path)
    options = {} if path.suffix.lower() == ".mkv" else _INDEX_FIRST
    try:
        with (
            replacing(path) as temporary,
            av.open(url(temporary), "w", container_options=options) as container,
        ):
            yield container
    except av.error.FFmpegError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def _picture(container: OutputContainer, video: Video, magnify: int) -> Iterator[AnyPacket]:
    height, width, _ = _pixels(video.frames[0], magnify).shape
    track = _picture_track(container, video.fps, (height, width))
    for index, values in enumerate(video.frames):
        # one by one: all frames of a long video at once would fill the memory several times
        frame = _converted(_pixels(values, magnify))
        frame.pts, frame.time_base = index, 1 / video.fps
        yield from track.encode(frame)
    yield from track.encode()


def _sound(container: OutputContainer, audio: Audio) -> Iterator[AnyPacket]:
    return encoded(container, bring_down(audio).waveform[None], audio.sample_rate, "mono")


def _picture_track(container: OutputContainer, fps: Fraction, size: tuple[int, int]) -> VideoStream:
    picture = container.add_stream("libx264", rate=fps, options=_QUALITY)
    picture.height, picture.width, picture.pix_fmt = *size, "yuv420p"
    picture.time_base = 1 / fps
    context = picture.codec_context
    # with more threads the bytes depend on their scheduling and on their number
    context.thread_count = 1
    context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
    context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
    return picture


def _converted(pixels: npt.NDArray[np.uint8]) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
        format="yuv420p",
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
        dst_color_primaries=ColorPrimaries.BT709,
        dst_color_trc=ColorTrc.BT709,
        interpolation=_CONVERSION,
        threads=1,
    )


def _pixels(frame: Frames, magnify: int) -> npt.NDArray[np.uint8]:
    """Convert a frame to bytes, magnified, extended at the bottom and the right to even sizes."""
    large = np.round(np.clip(frame, 0, 1) * 255).astype(np.uint8)
    large = large.repeat(magnify, axis=0).repeat(magnify, axis=1)
    height, width, _ = large.shape
    return np.pad(large, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
