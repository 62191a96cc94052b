"""Weights of the released discriminators: published pickles of state dicts.

They are converted at the first load: see ``mmdisco.io.conversion``.
"""

import functools
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from mmdisco.discriminators.official.config import PUBLISHED, OfficialConfig
from mmdisco.discriminators.official.keys import PREFIX, released_name
from mmdisco.discriminators.official.network import ReleasedDiscriminator
from mmdisco.errors import UserError
from mmdisco.io.conversion import PublishedNetwork, extent


def load_checkpoint(checkpoint: Path, config: OfficialConfig) -> ReleasedDiscriminator:
    """Load the discriminator of a published file, converted at the first use.

    The folder of the converted weights stands beside the file, with ``.converted`` appended to
    its name. It is sufficient by itself: the file may then be deleted. A file that was replaced
    is converted again.

    Args:
        checkpoint: A published file.
        config: The shape of its network, one of ``PUBLISHED``.

    Returns:
        The network on the CPU, in single precision, frozen.

    Raises:
        UserError: The file is missing, damaged or of another network, the folder cannot be written
            to, or its content is damaged.
    """
    network = published(config).load(checkpoint)
    if network.config != config:
        raise UserError(
            f"the folder converted from {checkpoint} holds another network than was asked for: "
            "name that one"
        )
    return network


def published(config: OfficialConfig) -> PublishedNetwork[ReleasedDiscriminator]:
    """Describe the published form of a discriminator."""

    def rename(weights: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
        ours = {released_name(name): name for name in empty(config).state_dict()}
        return {ours.get(name, name): one for name, one in _without_prefix(weights).items()}

    return PublishedNetwork(
        name="released discriminator",
        shape=config.to_record(),
        build=lambda record: ReleasedDiscriminator(OfficialConfig.from_record(record)),
        rename=rename,
        advice=_advice,
    )


def empty(config: OfficialConfig) -> ReleasedDiscriminator:
    """Build the network without memory for its weights, on the meta device."""
    with torch.device("meta"):
        return ReleasedDiscriminator(config)


def _advice(weights: Mapping[str, Tensor]) -> str:
    found = {name: extent(one) for name, one in _without_prefix(weights).items()}
    fits = [stem for stem, other in PUBLISHED.items() if _wanted(other) == found]
    return f"load it as {' or '.join(fits)}" if fits else "download the published file again"


def _without_prefix(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Remove the prefix that all names have where the release's whole model was saved."""
    if all(name.startswith(PREFIX) for name in weights):
        return {name.removeprefix(PREFIX): one for name, one in weights.items()}
    return dict(weights)


@functools.cache
def _wanted(config: OfficialConfig) -> dict[str, list[int]]:
    """Return the sizes of every weight, by the release's names."""
    weights = empty(config).state_dict()
    return {released_name(name): extent(own) for name, own in weights.items()}
