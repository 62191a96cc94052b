"""The endless data set: (seed, index) → clip, ground truth and caption, always the same.

Captions have a small and closed vocabulary. A caption names the kind and some attributes, each
with a fixed probability; what it leaves out is free. Captions with equal ``SceneConstraints`` mean
the same, whatever their words.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from mmdisco.media.clip import AudioVideo
from mmdisco.media.sounding_objects.render import render
from mmdisco.media.sounding_objects.scene import (
    Colour,
    ObjectKind,
    Scene,
    SceneConstraints,
    Size,
    draw_scene,
)
from mmdisco.media.sounding_objects.sound import sound

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
    named: SceneConstraints


def draw_named(scene: Scene, rng: np.random.Generator) -> SceneConstraints:
    """Choose the attributes of ``scene`` that a caption names."""
    colour, size, count = rng.uniform(size=3)
    return SceneConstraints(
        kind=scene.kind,
        colour=scene.colour if colour < _NAMED else None,
        size=scene.size if size < _NAMED else None,
        count=len(scene.events) if count < _COUNTED else None,
    )


def draw_caption(named: SceneConstraints, rng: np.random.Generator) -> Caption:
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


@dataclass(frozen=True, eq=False, slots=True)
class Example:
    """A clip with its ground truth.

    Attributes:
        clip: 16 frames of 64×64 at 10 fps and 25 600 samples at 16 kHz.
        scene: The ground truth.
        caption: A description that is true of the scene.
    """

    clip: AudioVideo
    scene: Scene
    caption: Caption


def example(seed: int, index: int) -> Example:
    """Make clip ``index`` of the data set ``seed``, with a caption of random attributes."""
    rng = np.random.default_rng((seed, index))
    scene, caption = _described(rng)
    return Example(perform(scene, rng), scene, caption)


def caption_of(seed: int, index: int) -> Caption:
    """Return the caption of ``example(seed, index)``, without making the clip."""
    return _described(np.random.default_rng((seed, index)))[1]


def example_of(named: SceneConstraints, seed: int, index: int) -> Example:
    """Make clip ``index`` of those that a caption of exactly ``named`` describes."""
    rng = np.random.default_rng((seed, index))
    scene = draw_scene(rng, named)
    return Example(perform(scene, rng), scene, draw_caption(named, rng))


def _described(rng: np.random.Generator) -> tuple[Scene, Caption]:
    scene = draw_scene(rng, SceneConstraints())
    return scene, draw_caption(draw_named(scene, rng), rng)


def perform(scene: Scene, rng: np.random.Generator) -> AudioVideo:
    """Render video and sound of ``scene``; ``rng`` draws the noise and the phases of the sound."""
    return AudioVideo(audio=sound(scene, rng), video=render(scene))
