"""Measurements in the pixels of a sounding-objects clip: masks of the object and the striker.

All are sums over many pixels, so that blur, colour noise and a lossy codec change them little. Uses
no ground truth; the layout of the scenes (position of the floor, dark rooms) is that of
``objects.render``.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter

from mmdisco.media.clip import Frames, Video

Series = npt.NDArray[np.float64]  # one value per frame
Masks = npt.NDArray[np.float32]  # (frames, height, width), in [0, 1]

_LEAST_SATURATION: Final = 0.2
LEAST_AREA: Final = 25.0  # pixels; less is not an object
LEAST_INK: Final = 6.0
_DARK: Final = 0.50  # brightness relative to the wall's from which a pixel is no striker at all
_INK: Final = 0.28  # and up to which it is all striker
_NIGHT: Final = 0.40  # brightness of the background below which the scene is a lamp's


@dataclass(frozen=True, eq=False, slots=True)
class Blob:
    """Position of a mask in every frame.

    Attributes:
        area: Sum of the mask in pixels.
        x: Centre; NaN in frames where the mask is empty.
        y: Centre, downwards; NaN likewise.
    """

    area: Series
    x: Series
    y: Series


def softened(video: Video) -> Video:
    """Blur by a 3×3 box, which removes most of the colour noise of single pixels."""
    frames = np.asarray(uniform_filter(video.frames, 3, axes=(1, 2)), np.float32)
    return Video(frames, video.fps)


def brightness(frames: Frames) -> Masks:
    """Compute the largest channel of every pixel."""
    return frames.max(-1)


def is_dark(video: Video) -> bool:
    """Check whether the scene is dark, as a lamp's is."""
    return float(np.median(brightness(video.frames))) < _NIGHT


def coloured(video: Video) -> Masks:
    """Mask the coloured object by relative saturation, per frame, 1 inside, 0 outside."""
    saturation = video.frames.max(-1) - video.frames.min(-1)
    # The 50 most saturated pixels give the object's own saturation, even while a lamp is off.
    full = np.sort(saturation.reshape(len(saturation), -1), axis=1)[:, -50:].mean(1)
    full = np.maximum(full, _LEAST_SATURATION)[:, None, None]
    return np.clip((saturation / full - 0.42) / 0.2, 0, 1)


def inked(video: Video) -> Masks:
    """Mask the striker: nearly black pixels of a bright scene."""
    light = brightness(video.frames)
    light = light / max(float(np.median(light)), 0.1)
    return np.clip((_DARK - light) / (_DARK - _INK), 0, 1)


def blob(mask: Masks, least: float) -> Blob:
    """Compute area and centre of ``mask`` per frame; no centre below ``least`` pixels."""
    area = mask.sum((1, 2), dtype=np.float64)
    weight = np.where(area >= least, area, np.nan)
    y, x = np.arange(mask.shape[1]) + 0.5, np.arange(mask.shape[2]) + 0.5
    return Blob(area, x=mask.sum(1) @ x / weight, y=mask.sum(2) @ y / weight)


def filled(values: Series) -> Series | None:
    """Interpolate gaps of a series linearly; ``None`` if more than half is missing."""
    known = ~np.isnan(values)
    if known.mean() <= 0.5:
        return None
    index = np.arange(len(values))
    return np.interp(index, index[known], values[known])
