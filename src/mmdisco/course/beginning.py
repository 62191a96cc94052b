"""What a course begins with: new weights, or those of a discriminator that was trained before."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch

from mmdisco.course.config import Course, Shape
from mmdisco.discriminator.audio_video import AudioVideoConfig, AudioVideoDiscriminator
from mmdisco.discriminator.folder import DiscriminatorFolder, find_discriminator, read_config
from mmdisco.errors import UserError
from mmdisco.pair import Pair

OWN: Final = "preset"
"""The name of the discriminator that a preset brings along."""


@dataclass(frozen=True)
class Beginning:
    """A network before its first step.

    Attributes:
        network: Ready to be trained.
        mark: Checksum of the weights it was given; None where they are new.
    """

    network: AudioVideoDiscriminator
    mark: str | None = None


def begin(
    course: Course, pair: Pair, preset: str, shape: Callable[[Shape], AudioVideoConfig]
) -> Beginning:
    """The network of a course.

    Args:
        course: Its settings; new weights follow from the seed of the training.
        pair: Whose latents it will read.
        preset: The name of that pair.
        shape: What a wish means for those latents.

    Raises:
        UserError: What to begin with is not there, damaged, of other latents or not trainable, or
            a shape is wished for beside it.
    """
    if course.start is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(course.training.seed)
            return Beginning(AudioVideoDiscriminator(shape(course.discriminator)))
    if course.discriminator != Shape():
        raise UserError("start brings its own shape: leave discriminator.* and --interaction out")
    if course.start == OWN:
        trained, mark = pair.discriminator(), pair.marks()["discriminator"]
    else:
        folder = find_discriminator(course.start)
        trained, mark = DiscriminatorFolder.load(folder).network, read_config(folder)["sha256"]
    if not isinstance(trained, AudioVideoDiscriminator):
        raise UserError(f"the discriminator of {preset} cannot be trained on: leave start out")
    pair.expect_fitting(trained.config, preset)
    network = AudioVideoDiscriminator(trained.config)
    network.load_state_dict(trained.state_dict())
    return Beginning(network, mark)
