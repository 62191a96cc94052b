"""Checks that parts which were put together belong together. Knows configurations only."""

from typing import Any

from diffusers import AutoencoderKL
from torch import nn

from mmdisco.errors import UserError


def expect_latents(unet: nn.Module, vae: AutoencoderKL, model: str) -> None:
    """Make sure that the denoiser reads as many channels as the autoencoder makes.

    Raises:
        UserError: It does not.
    """
    config: Any = unet.config
    if config["in_channels"] != vae.config["latent_channels"]:
        raise UserError(
            f"{model}: a denoiser of {config['in_channels']} channels and an autoencoder of "
            f"{vae.config['latent_channels']}; take both from one checkpoint"
        )


def expect_text(wanted: int, made: int, model: str) -> None:
    """Make sure that the denoiser reads vectors as wide as the text encoder makes.

    Raises:
        UserError: It does not.
    """
    if wanted != made:
        raise UserError(
            f"{model}: a denoiser that reads text of width {wanted} and a text encoder of width "
            f"{made}; take both from one checkpoint"
        )
