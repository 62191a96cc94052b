"""Pixels of a scene: 16 frames of 64×64, anti-aliased, without motion blur.

Every shape is a signed distance in pixels, positive inside, whose coverage is clip(distance +
½). The sounding object is the only strongly coloured one, the striker the only nearly black
one; a lamp stands in the dark. Independent of sound.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mmdisco.media.clip import Video
from mmdisco.media.sounding_objects.scene import (
    FRAME_RATE,
    FRAMES,
    SIDE,
    Colour,
    ObjectKind,
    Scene,
    distance,
)

# Single precision throughout; numpy's types cannot follow that through arithmetic.
Plane = npt.NDArray[np.floating[Any]]  # (height, width) or (frames, height, width)
Places = npt.NDArray[np.floating[Any]]  # one coordinate per frame, (frames, 1, 1)
# Colour first while painting, which is three times as fast: (3, 1 or frames, 1 or h, 1 or w).
Paint = npt.NDArray[np.floating[Any]]

PALETTE: Final = {
    Colour.RED: (0.90, 0.14, 0.12),
    Colour.YELLOW: (0.96, 0.80, 0.10),
    Colour.GREEN: (0.13, 0.70, 0.24),
    Colour.BLUE: (0.14, 0.34, 0.94),
}
FLOOR: Final = 56.0  # y at which a ball bounces
DRUM_BASE: Final = 59.0
DRUM_HALF_WIDTH: Final = 1.45  # all in radii
DRUM_HEIGHT: Final = 1.3
BELL_HALF_WIDTH: Final = 1.3
BELL_HEIGHT: Final = 2.2
BELL_LIP: Final = 44.0  # y of a bell's lower edge
STRIKER: Final = 3.2  # radius of the mallet's head and of the pendulum's bob, in pixels
FADE: Final = 0.25  # seconds of a flash's linear fade
LAMP_DARK: Final = 0.35  # brightness of a lamp's bulb when off, relative to its brightest flash
LAMP_GLOW: Final = 0.75  # glow of the room around it at the brightest flash


def _rgb(red: float, green: float, blue: float) -> Paint:
    return np.array((red, green, blue), np.float32)[:, None, None, None]


_INK: Final = _rgb(0.07, 0.06, 0.06)
_SHAFT: Final = _rgb(0.52, 0.48, 0.44)
_SKIN: Final = _rgb(0.97, 0.95, 0.91)
_WALL: Final = _rgb(0.80, 0.80, 0.80)
_GROUND: Final = _rgb(0.50, 0.48, 0.46)
_NIGHT: Final = _rgb(0.13, 0.13, 0.14)
_WARM: Final = _rgb(0.05, 0.0, -0.06)
_Y, _X = (np.mgrid[0:SIDE, 0:SIDE] + 0.5).astype(np.float32)


def render(scene: Scene) -> Video:
    """Render the video of ``scene``."""
    times = np.arange(FRAMES) / float(FRAME_RATE)
    frames = _DRAW[scene.kind](scene, times)
    pixels = np.ascontiguousarray(np.moveaxis(np.clip(frames, 0, 1), 0, -1), np.float32)
    return Video(pixels, FRAME_RATE)


def flash_brightness(
    times: npt.NDArray[np.float64], onsets: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return 1 at an onset, falling linearly to 0 within ``FADE``; shape (times, onsets)."""
    since = times[:, None] - onsets
    return np.where(since >= 0, np.clip(1 - since / FADE, 0, 1), 0)


def _length(x: Plane, y: Plane) -> Plane:
    return np.sqrt(x * x + y * y)  # five times as fast as np.hypot, and nothing overflows here


def _coverage(depth: Plane) -> Plane:
    return np.clip(depth + 0.5, 0, 1)


def _paint(canvas: Paint, coverage: Plane, colour: Paint) -> Paint:
    """Blend ``colour`` over ``canvas``; a still canvas becomes frames if coverage moves."""
    return canvas + coverage * (colour - canvas)


def _disc(x: Places | float, y: Places | float, radius: float) -> Plane:
    return radius - _length(_X - x, _Y - y)


def _line(
    start: tuple[Places | float, Places | float],
    end: tuple[Places | float, Places | float],
    half_width: float,
) -> Plane:
    """Return the signed distance of a straight bar between two points."""
    (x0, y0), (x1, y1) = start, end
    dx, dy = x1 - x0, y1 - y0
    along = np.clip(((_X - x0) * dx + (_Y - y0) * dy) / (dx * dx + dy * dy), 0, 1)
    return half_width - _length(_X - x0 - along * dx, _Y - y0 - along * dy)


def _shade(colour: Colour, light: Plane) -> Paint:
    """Return the colour under ``light``: darker away from it, hue and saturation kept."""
    return _rgb(*PALETTE[colour]) * light


def _room(scene: Scene, wall: Paint, floor: float) -> Paint:
    """Paint an empty room: a wall, and the ground from y = ``floor`` down."""
    backdrop = scene.backdrop
    tint = wall * (1 + backdrop.warmth * _WARM) * backdrop.brightness
    canvas = np.broadcast_to(tint.astype(np.float32), (3, 1, SIDE, SIDE))
    return _paint(canvas, _coverage(_Y - floor), _GROUND * np.float32(backdrop.brightness))


def _between(scene: Scene, left: float, right: float) -> float:
    return left + scene.backdrop.place * (right - left)


def _per_frame(values: npt.NDArray[np.float64]) -> Places:
    return values.astype(np.float32)[:, None, None]


def _ball(scene: Scene, times: npt.NDArray[np.float64]) -> Paint:
    radius, height = scene.radius, _per_frame(distance(scene, times))
    room = radius + 1
    travel = scene.backdrop.drift * times
    start = _between(scene, room - min(travel.min(), 0), SIDE - room - max(travel.max(), 0))
    x, y = _per_frame(start + travel), FLOOR - radius - height
    canvas = _room(scene, _WALL, FLOOR - 1.5)
    shadow = _coverage((1 - _length((_X - x) / radius, (_Y - FLOOR) / 2.2)) * 2.2)
    canvas = canvas * (1 - 0.55 * np.exp(-height / 14) * shadow)
    right, down = _X - x + radius * 0.35, _Y - y + radius * 0.4
    light = np.clip(1.1 - (0.28 / radius**2) * (right * right + down * down), 0.5, 1.05)
    return _paint(canvas, _coverage(_disc(x, y, radius)), _shade(scene.colour, light))


def _drum(scene: Scene, times: npt.NDArray[np.float64]) -> Paint:
    half = DRUM_HALF_WIDTH * scene.radius
    x = _between(scene, half + 2, SIDE - half - 6)
    top = DRUM_BASE - DRUM_HEIGHT * scene.radius
    canvas = _room(scene, _WALL, DRUM_BASE - 4)
    sag = np.sqrt(np.clip(1 - ((_X - x) / half) ** 2, 0, 1)) * 2.5
    body = np.minimum(half - np.abs(_X - x), np.minimum(_Y - top, DRUM_BASE - 2.5 + sag - _Y))
    light = np.clip(1.08 - 0.4 * np.abs((_X - x) / half + 0.35), 0.55, 1.05)
    canvas = _paint(canvas, _coverage(body), _shade(scene.colour, light))
    skin = (1 - _length((_X - x) / half, (_Y - top) / 2.8)) * 2.8
    canvas = _paint(canvas, _coverage(skin), _SKIN)
    tip = top - STRIKER - _per_frame(distance(scene, times))
    hand = (x + 0.5 * half + 20, top - 20.0)
    canvas = _paint(canvas, _coverage(_line((x, tip), hand, 1.1)), _SHAFT)
    return _paint(canvas, _coverage(_disc(x, tip, STRIKER)), _INK)


def bell_half_width(height: Plane) -> Plane:
    """Return a bell's half width, for radius 1, at ``height``: 0 at the crown, 1 at the lip."""
    down = np.clip(height, 0, 1)
    dome = np.sqrt(1 - (1 - down) ** 2)
    return (0.8 * dome + (BELL_HALF_WIDTH - 0.8) * down**5).astype(np.float32)


def _bell(scene: Scene, times: npt.NDArray[np.float64]) -> Paint:
    half = BELL_HALF_WIDTH * scene.radius
    x = _between(scene, half + 2 * STRIKER + scene.rest + 1, SIDE - half - 1.5)
    crown = BELL_LIP - BELL_HEIGHT * scene.radius
    canvas = _room(scene, _WALL, DRUM_BASE)
    canvas = _paint(canvas, _coverage(_line((2.0, 4.0), (62.0, 4.0), 1.3)), _SHAFT)
    canvas = _paint(canvas, _coverage(_line((x, 4.0), (x, crown + 1), 0.8)), _SHAFT)
    profile = bell_half_width((_Y - crown) / (BELL_LIP - crown)) * scene.radius
    body = np.minimum(profile - np.abs(_X - x), np.minimum(_Y - crown, BELL_LIP - _Y))
    light = np.clip(1.08 - 0.4 * np.abs((_X - x) / half + 0.35), 0.55, 1.05)
    canvas = _paint(canvas, _coverage(body), _shade(scene.colour, light))
    away = _per_frame(distance(scene, times))
    rest_x = x - half - STRIKER
    bob = (rest_x - away, BELL_LIP - 1.5 - away**2 / 60)
    canvas = _paint(canvas, _coverage(_line((rest_x, 4.0), bob, 0.6)), _SHAFT)
    return _paint(canvas, _coverage(_disc(*bob, STRIKER)), _INK)


def _lamp(scene: Scene, times: npt.NDArray[np.float64]) -> Paint:
    radius = scene.radius
    x, y = _between(scene, radius + 8, SIDE - radius - 8), 27.0
    canvas = _room(scene, _NIGHT, DRUM_BASE)
    canvas = canvas * np.where(_Y < DRUM_BASE, 1, 0.35).astype(np.float32)
    canvas = _paint(canvas, _coverage(_line((x, y), (x, DRUM_BASE), 1.6)), _SHAFT * 0.6)
    onsets = np.array([event.time for event in scene.events])
    peaks = np.array([event.speed for event in scene.events])
    lit = _per_frame((flash_brightness(times, onsets) * peaks).max(1))
    glow = LAMP_GLOW * np.exp(-np.clip(-_disc(x, y, radius), 0, None) / 18)
    colour = _rgb(*PALETTE[scene.colour])
    canvas = canvas + lit * glow * colour
    bulb = LAMP_DARK + (1 - LAMP_DARK) * lit
    return _paint(canvas, _coverage(_disc(x, y, radius)), bulb * colour)


_DRAW: Final[dict[ObjectKind, Callable[[Scene, npt.NDArray[np.float64]], Paint]]] = {
    ObjectKind.BALL: _ball,
    ObjectKind.DRUM: _drum,
    ObjectKind.LAMP: _lamp,
    ObjectKind.BELL: _bell,
}
