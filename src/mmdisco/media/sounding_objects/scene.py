"""Scenes of "sounding objects": kind, colour, size and the times of contact.

A scene is drawn from a random generator and holds everything that pixels and sound are made
from, so that both agree by construction. Independent of pixels and samples.

All motion is uniformly accelerated: between contacts P seconds apart the striker (ball, mallet,
pendulum) leaves the surface with speed v = ½ a P, at most √(2 a H), and rests at distance H if
it gets there. Contact times can therefore be solved for between frames.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

Choice = TypeVar("Choice", bound=Enum)

FRAME_RATE: Final = Fraction(10)
FRAMES: Final = 16
SIDE: Final = 64
SAMPLE_RATE: Final = 16_000
SAMPLES: Final = 25_600
SECONDS: Final = 1.6

FIRST_EVENT: Final = 0.12
LAST_EVENT: Final = 1.40
LEAST_GAP: Final = 0.28
MOST_EVENTS: Final = 4

# The last frame of a clip is shown at 1.5 s; a contact after LAST_EVENT could be heard but not
# seen, so the next one has to come after the clip.
_AFTER_THE_CLIP: Final = 1.62


class ObjectKind(Enum):
    """The object that makes the sound."""

    BALL = "ball"
    DRUM = "drum"
    LAMP = "lamp"
    BELL = "bell"


class Colour(Enum):
    """Colour of the sounding object, which determines its timbre: see ``sound``."""

    RED = "red"
    YELLOW = "yellow"
    GREEN = "green"
    BLUE = "blue"


class Size(Enum):
    """Size of the sounding object, which determines its pitch."""

    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


# Radii in pixels. The gaps between the ranges make the class of a radius measurable, not a matter
# of taste.
RADII: Final = {Size.SMALL: (5.5, 6.3), Size.MEDIUM: (8.0, 9.0), Size.LARGE: (11.2, 12.2)}

# Pixels/s² of each striker, and the range of its rest distance in pixels.
ACCELERATION: Final = {ObjectKind.BALL: 330.0, ObjectKind.DRUM: 500.0, ObjectKind.BELL: 450.0}
_REST: Final = {ObjectKind.DRUM: (10.0, 22.0), ObjectKind.BELL: (9.5, 18.0)}
_FALL: Final = (0.5, 0.86)  # seconds a ball would fly if it came back as fast as it arrives
_BOUNCE: Final = (0.65, 0.97)  # length of a flight relative to the one before
_COUNTS: Final = (0.3, 0.3, 0.25, 0.15)


@dataclass(frozen=True, slots=True)
class Event:
    """One contact, or one flash.

    Attributes:
        time: Seconds after the first frame.
        speed: Speed of the contact, or brightness of the flash, relative to the greatest of its
            kind; in (0, 1].
    """

    time: float
    speed: float


@dataclass(frozen=True, slots=True)
class Backdrop:
    """Properties that differ from clip to clip and make no sound.

    Attributes:
        place: Position of the object, in [0, 1] from leftmost to rightmost.
        drift: Sideways speed of a ball, pixels/s.
        brightness: Factor of the background, around 1.
        warmth: Tint of the background, in [−1, 1].
    """

    place: float
    drift: float
    brightness: float
    warmth: float


@dataclass(frozen=True, slots=True)
class Scene:
    """Ground truth of one clip.

    Attributes:
        kind: The object that makes the sound.
        colour: Its colour and timbre.
        size: Its size class.
        radius: Its size in pixels, within ``RADII[size]``.
        events: Events in order of time; one to ``MOST_EVENTS``.
        rest: Distance at which the striker rests, in pixels; 0 for a lamp.
        following: Time of the next contact, after the clip; infinite if none.
        backdrop: The rest of the picture.
    """

    kind: ObjectKind
    colour: Colour
    size: Size
    radius: float
    events: tuple[Event, ...]
    rest: float
    following: float
    backdrop: Backdrop


@dataclass(frozen=True, slots=True)
class SceneConstraints:
    """Constraints on a scene; ``None`` leaves an attribute free."""

    kind: ObjectKind | None = None
    colour: Colour | None = None
    size: Size | None = None
    count: int | None = None


def size_of(radius: float) -> Size:
    """Return the size class whose middle is nearest in ratio."""
    return min(RADII, key=lambda size: abs(math.log(radius / math.sqrt(math.prod(RADII[size])))))


def draw_scene(rng: np.random.Generator, constraints: SceneConstraints) -> Scene:
    """Draw the attributes that ``constraints`` leaves free, each independently of the others."""
    kind = constraints.kind or _choose(rng, ObjectKind)
    colour = constraints.colour or _choose(rng, Colour)
    size = constraints.size or _choose(rng, Size)
    count = constraints.count or 1 + int(rng.choice(len(_COUNTS), p=_COUNTS))
    events, rest, following = _DRAW[kind](rng, kind, count)
    backdrop = Backdrop(
        place=rng.uniform(),
        drift=rng.uniform(-7, 7),
        brightness=rng.uniform(0.92, 1.06),
        warmth=rng.uniform(-1, 1),
    )
    radius = rng.uniform(*RADII[size])
    return Scene(kind, colour, size, radius, events, rest, following, backdrop)


def distance(scene: Scene, times: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the striker's distance from the surface at ``times``, in pixels, same shape."""
    acceleration = ACCELERATION[scene.kind]
    contacts = np.array([-math.inf, *(event.time for event in scene.events), scene.following])
    after = np.searchsorted(contacts[1:-1], times, side="right") + 1
    since, until = times - contacts[after - 1], contacts[after] - times
    x = np.minimum(since, until)
    speed = _launch_speed(since + until, acceleration, scene.rest)
    x = np.minimum(x, speed / acceleration)
    return speed * x - acceleration / 2 * x**2


def _launch_speed(
    flight: npt.NDArray[np.float64], acceleration: float, rest: float
) -> npt.NDArray[np.float64]:
    """Return v = ½ a P of a flight of P seconds, at most what reaches the rest distance."""
    return np.minimum(acceleration * flight / 2, math.sqrt(2 * acceleration * rest))


def _choose(rng: np.random.Generator, options: type[Choice]) -> Choice:
    members = list(options)
    return members[int(rng.integers(len(members)))]


_Draft = tuple[tuple[Event, ...], float, float]


def _free_times(rng: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
    """Draw uniformly among all sets of ``count`` times that keep the least gap."""
    gaps = LEAST_GAP * np.arange(count)
    slack = LAST_EVENT - FIRST_EVENT - gaps[-1]
    return FIRST_EVENT + np.sort(rng.uniform(0, slack, count)) + gaps


def _draw_ball(rng: np.random.Generator, kind: ObjectKind, count: int) -> _Draft:
    """Draw a dropped ball whose flights get shorter, until it bounces ``count`` times."""
    while True:
        first, fall = rng.uniform(FIRST_EVENT, LAST_EVENT), rng.uniform(*_FALL)
        times, flights = [first], [fall]
        while times[-1] <= LAST_EVENT:
            least = min(1.0, max(_BOUNCE[0], (LEAST_GAP + 0.02) / flights[-1]))
            flights.append(flights[-1] * rng.uniform(least, max(least, _BOUNCE[1])))
            times.append(times[-1] + flights[-1])
        if len(times) == count + 1 and times[-1] > _AFTER_THE_CLIP:
            break
    events = tuple(Event(t, p / _FALL[1]) for t, p in zip(times[:-1], flights, strict=False))
    return events, ACCELERATION[kind] * fall**2 / 8, times[-1]


def _draw_struck(rng: np.random.Generator, kind: ObjectKind, count: int) -> _Draft:
    """Draw a mallet or pendulum that strikes at free times from a height of its own."""
    times, rest = _free_times(rng, count), rng.uniform(*_REST[kind])
    waits = np.diff(times, prepend=-math.inf)
    speeds = _launch_speed(waits, ACCELERATION[kind], rest)
    fastest = math.sqrt(2 * ACCELERATION[kind] * _REST[kind][1])
    events = tuple(Event(float(t), float(v) / fastest) for t, v in zip(times, speeds, strict=True))
    return events, rest, math.inf


def _draw_lamp(rng: np.random.Generator, kind: ObjectKind, count: int) -> _Draft:
    """Draw flashes at free times, each of its own brightness."""
    del kind
    times = _free_times(rng, count)
    return tuple(Event(float(t), rng.uniform(0.5, 1.0)) for t in times), 0.0, math.inf


_DRAW: Final[dict[ObjectKind, Callable[[np.random.Generator, ObjectKind, int], _Draft]]] = {
    ObjectKind.BALL: _draw_ball,
    ObjectKind.DRUM: _draw_struck,
    ObjectKind.LAMP: _draw_lamp,
    ObjectKind.BELL: _draw_struck,
}
