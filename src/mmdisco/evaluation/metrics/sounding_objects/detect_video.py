"""Detection in the pixels of a sounding-objects clip: kind, colour, size and contact times.

Masks of the object and the striker are sums over many pixels, so that blur, colour noise and a
lossy codec change them little; the layout of the scenes is that of ``sounding_objects.render``.

A contact lies between frames. With x = |t − t_c| the striker's distance is v x − ½ a x² on either
side of it, a known and the two speeds v unknown; t_c is where such a pair of parabolas fits the
tracked distance best. A flash of unknown brightness A is A (1 − x / fade) from its onset on, so the
frames that follow determine onset and brightness.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter

from mmdisco.evaluation.metrics.features import Times
from mmdisco.evaluation.metrics.sounding_objects.detect_audio import Detections
from mmdisco.media.clip import Frames, Video
from mmdisco.media.sounding_objects.render import BELL_HALF_WIDTH, FADE, FLOOR, PALETTE, STRIKER
from mmdisco.media.sounding_objects.scene import ACCELERATION, Colour, ObjectKind, size_of

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


# (a, b): the masked area of an object of radius r is a r² − b r; b is what a drum's skin covers.
_AREA: Final = {
    ObjectKind.BALL: (2.72, 0.0),
    ObjectKind.DRUM: (3.20, 6.1),
    ObjectKind.LAMP: (3.09, 0.0),
    ObjectKind.BELL: (2.83, 0.0),
}
_DRUM_CENTRE: Final = 0.68  # radii from a drum's skin down to the centre of its coloured part
_DRUM_OFFSET: Final = 0.7  # and pixels
# Pixels by which light from the upper left shifts the centre of colour towards it.
_HIGHLIGHT: Final = 0.46
_TRAVEL: Final = 3.0  # pixels of vertical motion from which an object is a ball

_WINDOW: Final = 0.21  # seconds before and after a contact that are fitted
_STEP: Final = 0.004  # seconds between candidates
# Frames between a contact and the lowest frame: ½ if the speeds before and after are equal.
_REACH: Final = 0.75
_LEVER: Final = 0.06  # seconds: pixels of misfit for each pixel/s of wrong speed
_LEAST_DIP: Final = 0.8  # pixels by which a contact frame is lower than its surroundings
_LEAST_SPEED: Final = 15.0  # pixels/s on either side
_WORST_FIT: Final = 2.0  # root mean square, pixels
_LEAST_RISE: Final = 0.22  # of the greatest rise of light
_FAINTEST_RISE: Final = 0.006  # mean brightness of a frame
_DEAD_TIME: Final = 0.15  # seconds in which two detections are one event


_NOTHING: Final = Detections(None, None, None, math.nan, np.empty(0))


def detect_video(video: Video) -> Detections:
    """Detect everything in ``video``."""
    soft = softened(video)
    mask = coloured(soft)
    thing, striker = blob(mask, LEAST_AREA), blob(inked(soft), LEAST_INK)
    if np.isnan(thing.x).mean() > 0.5:
        return _NOTHING
    kind = _kind(soft, thing, striker)
    radius = _radius(kind, float(np.nanmedian(thing.area)))
    if kind is ObjectKind.LAMP:
        events = _flashes(video)
    else:
        gap = filled(_gap(kind, thing, striker, radius))
        events = np.empty(0) if gap is None else contacts(gap, video.times, ACCELERATION[kind])
    return Detections(kind, _colour(soft, mask), size_of(radius), radius, events)


def _radius(kind: ObjectKind, area: float) -> float:
    a, b = _AREA[kind]
    return (b + math.sqrt(b * b + 4 * a * area)) / (2 * a)


def _kind(video: Video, thing: Blob, striker: Blob) -> ObjectKind:
    """Classify: dark room is lamp, vertical motion ball, striker above drum, beside bell."""
    if is_dark(video):
        return ObjectKind.LAMP
    low, high = np.nanpercentile(thing.y, (5, 95))
    struck = (~np.isnan(striker.x)).mean() > 0.5
    if high - low > _TRAVEL or not struck:
        return ObjectKind.BALL
    beside = float(np.nanmean(thing.x) - np.nanmean(striker.x))
    above = float(np.nanmean(thing.y) - np.nanmean(striker.y))
    return ObjectKind.BELL if beside > above else ObjectKind.DRUM


def colour_of_each_frame(video: Video) -> list[Colour]:
    """Find the colour of the object in every frame separately; constant in a real clip."""
    soft = softened(video)
    mask = coloured(soft)
    return [_nearest(one) for one in np.einsum("fhwc,fhw->fc", soft.frames, mask)]


def _colour(video: Video, mask: Masks) -> Colour:
    """Find the nearest hue to the object's mean chroma over all frames."""
    return _nearest(np.einsum("fhwc,fhw->c", video.frames, mask))


def _nearest(mean: npt.NDArray[np.floating]) -> Colour:
    hue = _hue(mean)
    return min(PALETTE, key=lambda c: abs(_turn(hue - _hue(np.array(PALETTE[c])))))


def _hue(rgb: npt.NDArray[np.floating]) -> float:
    """Compute the angle of the chroma, red at 0, in radians."""
    red, green, blue = (float(value) for value in rgb)
    return math.atan2(math.sqrt(3) * (green - blue), 2 * red - green - blue)


def _turn(angle: float) -> float:
    return (angle + math.pi) % (2 * math.pi) - math.pi


def _gap(kind: ObjectKind, thing: Blob, striker: Blob, radius: float) -> Series:
    """Measure the distance of the striking and struck surfaces in every frame, in pixels."""
    if kind is ObjectKind.BALL:
        return FLOOR - _HIGHLIGHT - radius - thing.y
    if kind is ObjectKind.DRUM:
        skin = np.nanmedian(thing.y) - _DRUM_CENTRE * radius - _DRUM_OFFSET
        return skin - STRIKER - striker.y
    lip = np.nanmedian(thing.x) + _HIGHLIGHT - BELL_HALF_WIDTH * radius
    return lip - STRIKER - striker.x


def contacts(gap: Series, times: Times, acceleration: float) -> Times:
    """Find the times at which ``gap`` (pixels, one per time) meets 0 and turns back."""
    dips = _dips(gap)
    found: list[float] = []
    for before, k, after in zip([0, *dips], dips, [*dips[1:], len(gap) - 1], strict=False):
        apexes = (
            _apex(gap[before:k], gap[before], acceleration),
            _apex(gap[k + 1 : after + 1], gap[after], acceleration),
        )
        instant = _contact_near(gap, times, acceleration, k, apexes)
        if instant is not None and (not found or instant - found[-1] > _DEAD_TIME):
            found.append(instant)
    return np.array(found)


@dataclass(frozen=True, slots=True)
class _Apex:
    """Speed that reaches the highest position seen on one side of a contact.

    Attributes:
        speed: √(2 a h) in pixels/s.
        complete: Whether the striker was seen to turn there; otherwise it may have gone farther.
    """

    speed: float
    complete: bool


def _apex(side: Series, far_end: np.float64, acceleration: float) -> _Apex:
    highest = float(side.max())
    return _Apex(math.sqrt(2 * acceleration * max(highest, 0)), bool(far_end < highest))


def _dips(gap: Series) -> list[int]:
    """Find frames in which the gap is smaller than in those around them."""
    found: list[int] = []
    for k in range(1, len(gap) - 1):
        before, after = gap[max(0, k - 2) : k], gap[k + 1 : k + 3]
        lowest = gap[k] <= before[-1] and gap[k] < after[0]
        if lowest and min(before.max(), after.max()) - gap[k] > _LEAST_DIP:
            found.append(k)
    return found


def _contact_near(
    gap: Series, times: Times, acceleration: float, k: int, apexes: tuple[_Apex, _Apex]
) -> float | None:
    """Fit the best contact within a frame of frame ``k``; ``None`` if none fits."""
    reach = _REACH * (times[1] - times[0])
    candidates = np.arange(times[k] - reach, times[k] + reach, _STEP)[:, None]
    x = np.abs(times - candidates)
    straight = gap + acceleration / 2 * x**2  # = v x if the candidate is right
    near = x <= _WINDOW
    error = np.zeros(len(candidates))
    speeds: list[Times] = []
    for side, apex in zip(
        (near & (times < candidates), near & (times >= candidates)), apexes, strict=True
    ):
        speed = (side * x * straight).sum(1) / np.maximum((side * x**2).sum(1), 1e-6)
        error += (side * (straight - speed[:, None] * x) ** 2).sum(1)
        # A side with one frame fits any candidate; the height it comes from decides between them.
        short = apex.speed - speed
        error += (_LEVER * np.where(apex.complete | (short > 0), short, 0)) ** 2
        speeds.append(speed)
    fit = np.sqrt(error / near.sum(1))
    fit[np.minimum(*speeds) < _LEAST_SPEED] = np.inf
    best = int(fit.argmin())
    return float(candidates[best, 0]) if fit[best] < _WORST_FIT else None


def _flashes(video: Video) -> Times:
    """Find onsets of flashes from the mean brightness of every frame."""
    light = video.frames.mean((1, 2, 3), dtype=np.float64)
    light = light - np.percentile(light, 20)
    rises = np.diff(light)
    least = max(_FAINTEST_RISE, _LEAST_RISE * float(rises.max()))
    found: list[float] = []
    for k in range(1, len(light) - 1):
        rising, peak = rises[k - 1] > least, k + 1 == len(light) or rises[k] <= least
        if rising and peak:
            instant = _onset_at(light, video.times, k)
            if not found or instant - found[-1] > _DEAD_TIME:
                found.append(instant)
    return np.array(found)


def _onset_at(light: Series, times: Times, k: int) -> float:
    """Find the time, up to one frame before the first lit frame ``k``, that explains its fading."""
    later = [j for j in (k + 1, k + 2) if j < len(light) and light[j] < light[j - 1]]
    falling = [k, *later]
    spacing = times[1] - times[0]
    candidates = np.arange(times[k] - spacing + _STEP, times[k] + _STEP / 2, _STEP)[:, None]
    shape = np.clip(1 - (times[falling] - candidates) / FADE, 0, 1)
    peak = shape @ light[falling] / (shape**2).sum(1)
    error = ((light[falling] - peak[:, None] * shape) ** 2).sum(1)
    return float(candidates[int(error.argmin()), 0])
