"""Published files of MM-Diffusion, converted at the first load: see ``mmdisco.io.conversion``."""

from pathlib import Path
from typing import Final

import torch

from mmdisco.adapters.mmdiffusion import keys
from mmdisco.adapters.mmdiffusion.config import JOINT, UPSCALER, JointConfig, UpscalerConfig
from mmdisco.adapters.mmdiffusion.network import JointNetwork
from mmdisco.adapters.mmdiffusion.upscaler import UpscalerNetwork
from mmdisco.io.conversion import PublishedNetwork
from mmdisco.io.pickles import renamed

ADVICE: Final = "get MM-Diffusion's weights from https://github.com/researchmm/MM-Diffusion"


def load_joint(path: Path, config: JointConfig = JOINT) -> JointNetwork:
    """Load the joint network, frozen, in single precision.

    Args:
        path: ``AIST++.pt`` or ``landscape.pt`` as published, or the folder ``AIST++.pt.converted``
            that it was converted to, which is sufficient by itself.
        config: Shape of the network in a published file; a folder knows its own.

    Raises:
        UserError: The file is missing, cut short or damaged, holds another network or numbers that
            are not finite, or its conversion cannot be written.
    """
    published = PublishedNetwork(
        name="MM-Diffusion's joint network",
        shape=config.to_record(),
        build=lambda record: JointNetwork(JointConfig.from_record(record)),
        rename=lambda weights, file: renamed(weights, keys.JOINT, file),
        advice=lambda _: ADVICE,
    )
    network = published.load(path)
    for weight in network.parameters():
        if weight.ndim == 4:
            # channels innermost, as all layers have them, or each evaluation would reorder it
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    return network


def load_upscaler(path: Path, config: UpscalerConfig = UPSCALER) -> UpscalerNetwork:
    """Load the super-resolution network, frozen, in single precision.

    Args:
        path: The file as published, or the folder that it was converted to.
        config: Shape of the network in a published file; a folder knows its own.

    Raises:
        UserError: As of ``load_joint``.
    """
    published = PublishedNetwork(
        name="MM-Diffusion's upscaler",
        shape=config.to_record(),
        build=lambda record: UpscalerNetwork(UpscalerConfig.from_record(record)),
        rename=lambda weights, file: {
            f"unet.{name}": one
            for name, one in keys.upscaler_weights(weights, config, file).items()
        },
        advice=lambda _: ADVICE,
    )
    return published.load(path)
