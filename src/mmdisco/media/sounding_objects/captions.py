"""Captions of scenes, in a small and closed vocabulary.

A caption names the kind and some attributes, each with a fixed probability; what it leaves out
is free. Two captions with equal ``SceneWish`` mean the same, whatever their words.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from mmdisco.media.sounding_objects.scene import Colour, ObjectKind, Scene, SceneWish, Size

_NAMED: Final = 0.4  # probability of naming colour or size
_COUNTED: Final = 0.25  # probability of naming the number of events

# {} is the object with its adjectives and article, n the number of events in words.
_PATTERNS: Final = {
    ObjectKind.BALL: ("{} bouncing{n}", "{} bounces{n} on the floor", "{} drops and bounces{n}"),
    ObjectKind.DRUM: ("{} being hit{n}", "a mallet hits {}{n}", "{} is played{n} with a mallet"),
    ObjectKind.LAMP: ("{} flashing and beeping{n}", "{} flashes{n} with a beep", "{} beeps{n}"),
    ObjectKind.BELL: ("{} being struck{n}", "a pendulum strikes {}{n}", "{} rings{n}"),
}
_NOUNS: Final = {
    ObjectKind.BALL: ("ball",),
    ObjectKind.DRUM: ("drum",),
    ObjectKind.LAMP: ("lamp", "light"),
    ObjectKind.BELL: ("bell",),
}
_SIZES: Final = {
    Size.SMALL: ("small", "little"),
    Size.MEDIUM: ("medium",),
    Size.LARGE: ("large", "big"),
}
_TIMES: Final = {1: ("once",), 2: ("twice",), 3: ("three times",), 4: ("four times",)}


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption with its meaning.

    Attributes:
        text: The words, lower case, no punctuation.
        named: The attributes named; ``named.kind`` is always set, ``None`` elsewhere means free.
    """

    text: str
    named: SceneWish


def draw_named(scene: Scene, rng: np.random.Generator) -> SceneWish:
    """Choose the attributes of ``scene`` that a caption names."""
    colour, size, count = rng.uniform(size=3)
    return SceneWish(
        kind=scene.kind,
        colour=scene.colour if colour < _NAMED else None,
        size=scene.size if size < _NAMED else None,
        count=len(scene.events) if count < _COUNTED else None,
    )


def draw_caption(named: SceneWish, rng: np.random.Generator) -> Caption:
    """Phrase ``named`` in words drawn at random.

    Raises:
        ValueError: ``named`` has no kind; a caption always names it.
    """
    if named.kind is None:
        raise ValueError("a caption names the kind")
    words = [_pick(_SIZES[named.size], rng)] if named.size else []
    words += [named.colour.value] if named.colour else []
    words.append(_pick(_NOUNS[named.kind], rng))
    count = f" {_pick(_TIMES[named.count], rng)}" if named.count else ""
    pattern = _pick(_PATTERNS[named.kind], rng)
    return Caption(pattern.format(f"a {' '.join(words)}", n=count), named)


def vocabulary() -> tuple[str, ...]:
    """Return every word a caption can contain, sorted."""
    phrases = [
        *(pattern.format("a", n="") for group in _PATTERNS.values() for pattern in group),
        *(word for group in (*_NOUNS.values(), *_SIZES.values()) for word in group),
        *(words for group in _TIMES.values() for words in group),
        *(colour.value for colour in Colour),
    ]
    return tuple(sorted({word for phrase in phrases for word in phrase.split()}))


def _pick(options: tuple[str, ...], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
