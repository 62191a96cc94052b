"""Frames as a player shows them: rotated and mirrored, of square pixels, in their own colours."""

from fractions import Fraction
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame
from av.video.reformatter import ColorTrc
from av.video.stream import VideoStream

from mmdisco.media.clip import Frames

# aspect ratios beyond this are cropped before scaling, which would otherwise fill memory
_SLIMMEST: Final = 4
_WIDEST_PIXEL: Final = 8  # a pixel more oblong than that is damage
_SQUARE: Final = Fraction(1)
_HDR: Final = {ColorTrc.SMPTE2084: "PQ", ColorTrc.ARIB_STD_B67: "HLG"}
_UNSPECIFIED: Final = 2  # the unspecified matrix in ITU-T H.273
_HDR_MATRICES: Final = {14: "ICtCp", 15: "IPT"}


def pixel_shape(stream: VideoStream) -> Fraction:
    """Return the width of a pixel by its height, 1 where it is not stated or implausible."""
    stated = stream.sample_aspect_ratio
    if stated is None or not Fraction(1, _WIDEST_PIXEL) <= stated <= _WIDEST_PIXEL:
        return _SQUARE
    return stated


def hdr(transfer: int, matrix: int) -> str | None:
    """Return the kind of HDR of a frame, None if it is not HDR."""
    return _HDR.get(cast("ColorTrc", transfer)) or _HDR_MATRICES.get(matrix)


def stated_hdr(stream: VideoStream) -> str | None:
    """Return the same as ``hdr``, by the metadata of a track."""
    return hdr(stream.color_trc, stream.colorspace)


def upright(
    frame: VideoFrame, size: tuple[int, int] | None, pixel: Fraction = _SQUARE
) -> npt.NDArray[np.uint8]:
    """Return RGB bytes (height, width, 3) as they are shown, centre-cropped and scaled.

    Args:
        frame: The decoded frame.
        size: (height, width) of the result; None keeps the frame's, with square pixels.
        pixel: Width of a pixel by its height.

    Raises:
        ValueError: The frame is HDR, which would come out grey.
    """
    a, b, c, d = _matrix(frame)
    across = abs(b) + abs(c) > abs(a) + abs(d)  # rows become columns
    if size is None:
        height, width = _square(frame, pixel)
        rgb = _rgb(frame, height, width, "BILINEAR")
    else:
        rgb = _covering(frame, (size[1], size[0]) if across else size, pixel)
    right, down = (c, b) if across else (a, d)
    if across:
        rgb = rgb.swapaxes(0, 1)
    return rgb[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1]


def pixels(frame: VideoFrame, size: tuple[int, int] | None, pixel: Fraction = _SQUARE) -> Frames:
    """Return the same as ``upright``, in [0, 1]."""
    return upright(frame, size, pixel).astype(np.float32) / np.float32(255)


def _matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    """Return the display matrix's rotation and mirroring: x' = ax + cy, y' = bx + dy."""
    found = cast("Any", frame.side_data).get(Type.DISPLAYMATRIX)
    if found is None:
        return 1, 0, 0, 1
    a, b, _, c, d, *_ = (int(value) for value in np.frombuffer(bytes(found), "=i4"))
    return a, b, c, d


def _square(frame: VideoFrame, pixel: Fraction) -> tuple[int, int]:
    """Return height and width with square pixels; the shorter side of a pixel is stretched."""
    if pixel >= 1:
        return frame.height, max(1, round(frame.width * pixel))
    return max(1, round(frame.height / pixel)), frame.width


def _covering(frame: VideoFrame, size: tuple[int, int], pixel: Fraction) -> npt.NDArray[np.uint8]:
    height, width = size
    high, broad = _square(frame, pixel)
    aspect = Fraction(broad * height, high * width)
    if not Fraction(1, _SLIMMEST) < aspect < _SLIMMEST:
        frame = _less_slim(frame, aspect)
        high, broad = _square(frame, pixel)
    scale = max(Fraction(height, high), Fraction(width, broad))
    tall, wide = max(height, round(high * scale)), max(width, round(broad * scale))
    rgb = _rgb(frame, tall, wide, "AREA")
    top, left = (tall - height) // 2, (wide - width) // 2
    return rgb[top : top + height, left : left + width]


def _less_slim(frame: VideoFrame, aspect: Fraction) -> VideoFrame:
    """Return the middle of a frame that is ``aspect`` times too wide, or 1/aspect too high."""
    rgb = _rgb(frame, frame.height, frame.width, "BILINEAR")
    wide = min(frame.width, -(-frame.width // max(aspect, _SQUARE)))
    tall = min(frame.height, -(-frame.height // max(1 / aspect, _SQUARE)))
    top, left = (frame.height - tall) // 2, (frame.width - wide) // 2
    middle = np.ascontiguousarray(rgb[top : top + tall, left : left + wide])
    return VideoFrame.from_ndarray(middle, format="rgb24")


def _rgb(frame: VideoFrame, height: int, width: int, scaler: str) -> npt.NDArray[np.uint8]:
    """Convert a frame to RGB by its matrix and range; an unstated matrix is a player's guess."""
    kind = hdr(frame.color_trc, frame.colorspace)
    if kind is not None:
        raise ValueError(f"the picture is HDR ({kind}): bring it to BT.709 first")
    matrix = None
    if frame.colorspace == _UNSPECIFIED:
        matrix = "ITU709" if frame.width >= 1280 or frame.height > 576 else "ITU601"
    shown = frame.reformat(
        width, height, "rgb24", src_colorspace=matrix, interpolation=scaler, threads=1
    )
    return shown.to_ndarray().astype(np.uint8, copy=False)
