"""The endless data set: (seed, index) → clip, ground truth and caption, always the same."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np

from mmdisco.media.clip import AudioVideo
from mmdisco.media.sounding_objects.captions import Caption, draw_caption, draw_named
from mmdisco.media.sounding_objects.render import render
from mmdisco.media.sounding_objects.scene import Scene, SceneWish, draw_scene
from mmdisco.media.sounding_objects.sound import sound


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


def example_of(named: SceneWish, seed: int, index: int) -> Example:
    """Make clip ``index`` of those that a caption of exactly ``named`` describes."""
    rng = np.random.default_rng((seed, index))
    scene = draw_scene(rng, named)
    return Example(perform(scene, rng), scene, draw_caption(named, rng))


def examples(seed: int, first: int = 0) -> Iterator[Example]:
    """Yield the data set ``seed`` from index ``first`` on, without end."""
    return (example(seed, index) for index in count(first))


def _described(rng: np.random.Generator) -> tuple[Scene, Caption]:
    scene = draw_scene(rng, SceneWish())
    return scene, draw_caption(draw_named(scene, rng), rng)


def perform(scene: Scene, rng: np.random.Generator) -> AudioVideo:
    """Render video and sound of ``scene``; ``rng`` draws the noise and the phases of the sound."""
    return AudioVideo(audio=sound(scene, rng), video=render(scene))
