"""What the pixels of a sounding-objects clip measure: masks of the coloured thing and the striker.

All measures are sums over many pixels, so that blur, colour noise and a lossy decoder shift them
little. Knows no ground truth; the layout of the scenes (where the floor is, what is dark) is that
of ``objects.render``.
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
LEAST_AREA: Final = 25.0  # pixels; less is not a thing
LEAST_INK: Final = 6.0
_DARK: Final = 0.50  # brightness against the wall's from which a pixel is no striker at all
_INK: Final = 0.28  # and up to which it is all striker
_NIGHT: Final = 0.40  # brightness of the background below which the scene is a lamp's


@dataclass(frozen=True, eq=False, slots=True)
class Blob:
    """Where a mask is in every frame.

    Attributes:
        area: Sum of the mask in pixels.
        x: Its centre; not a number in frames where the mask is empty.
        y: Likewise, downwards.
    """

    area: Series
    x: Series
    y: Series


def softened(video: Video) -> Video:
    """The clip under a 3×3 box, which takes most of the colour noise of single pixels away."""
    frames = np.asarray(uniform_filter(video.frames, 3, axes=(1, 2)), np.float32)
    return Video(frames, video.fps)


def brightness(frames: Frames) -> Masks:
    """Largest channel of every pixel."""
    return frames.max(-1)


def is_dark(video: Video) -> bool:
    """Whether the scene plays at night, as a lamp's does."""
    return float(np.median(brightness(video.frames))) < _NIGHT


def coloured(video: Video) -> Masks:
    """The coloured thing: saturation against the thing's own, per frame, 1 inside, 0 outside."""
    saturation = video.frames.max(-1) - video.frames.min(-1)
    # The 50 most coloured pixels say how coloured the thing is, even while a lamp is off.
    full = np.sort(saturation.reshape(len(saturation), -1), axis=1)[:, -50:].mean(1)
    full = np.maximum(full, _LEAST_SATURATION)[:, None, None]
    return np.clip((saturation / full - 0.42) / 0.2, 0, 1)


def inked(video: Video) -> Masks:
    """The striker: nearly black pixels of a bright scene."""
    light = brightness(video.frames)
    light = light / max(float(np.median(light)), 0.1)
    return np.clip((_DARK - light) / (_DARK - _INK), 0, 1)


def blob(mask: Masks, least: float) -> Blob:
    """Area and centre of ``mask`` in every frame; frames below ``least`` pixels have no centre."""
    area = mask.sum((1, 2), dtype=np.float64)
    weight = np.where(area >= least, area, np.nan)
    y, x = np.arange(mask.shape[1]) + 0.5, np.arange(mask.shape[2]) + 0.5
    return Blob(area, x=mask.sum(1) @ x / weight, y=mask.sum(2) @ y / weight)


def filled(values: Series) -> Series | None:
    """Gaps of a series closed in straight lines; ``None`` if more than half is missing."""
    known = ~np.isnan(values)
    if known.mean() <= 0.5:
        return None
    index = np.arange(len(values))
    return np.interp(index, index[known], values[known])
