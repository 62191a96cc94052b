"""Autoencoder of diffusers behind a codec, and checks of its clips."""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from mmdisco.errors import UserError
from mmdisco.io.shapes import Latent


class ScaledAutoencoder:
    """Images ↔ the latents that a denoiser was trained on.

    Args:
        vae: Autoencoder whose configuration has the factor that brings latents to unit variance.
        device: Device of the autoencoder.
    """

    def __init__(self, vae: AutoencoderKL, device: torch.device) -> None:
        self._vae: Any = vae
        self._device = device

    @property
    def factor(self) -> int:
        """Pixels per latent step, in height and in width."""
        return 2 ** (len(self._vae.config["block_out_channels"]) - 1)

    @property
    def channels(self) -> int:
        """Channels of a latent."""
        return self._vae.config["latent_channels"]

    def encode(self, images: Tensor) -> Latent:
        """Return the scaled mean of the posterior of images (b, c, h, w); float32 on the CPU."""
        with torch.no_grad():
            posterior = self._vae.encode(images.to(self._device, self._vae.dtype)).latent_dist
            return (posterior.mode() * self._vae.config["scaling_factor"]).float().cpu()

    def decode(self, latents: Latent) -> Tensor:
        """Decode latents to images, on the device and in the precision of the network."""
        with torch.no_grad():
            own = latents.to(self._device, self._vae.dtype)
            return self._vae.decode(own / self._vae.config["scaling_factor"]).sample


def expect_one_length(lengths: Sequence[int], medium: str, unit: str) -> None:
    """Check that the clips of a batch have one length.

    Raises:
        UserError: Two differ.
    """
    for length in lengths:
        if length != lengths[0]:
            raise UserError(
                f"{medium}s of {lengths[0]} and {length} {unit}: those of one batch must be of one "
                "length"
            )


def expect_matching(
    unet: nn.Module, vae: AutoencoderKL, *, read: int, made: int, model: str
) -> None:
    """Check that a denoiser reads the autoencoder's channels and the text encoder's vectors.

    Args:
        unet: Denoiser of diffusers.
        vae: The autoencoder.
        read: Width of the vectors that are read.
        made: Width of the text encoder's vectors.
        model: Name of the model, for the message.

    Raises:
        UserError: It does not.
    """
    config: Any = unet.config
    if config["in_channels"] != vae.config["latent_channels"]:
        raise UserError(
            f"{model}: a denoiser of {config['in_channels']} channels and an autoencoder of "
            f"{vae.config['latent_channels']}; take both from one checkpoint"
        )
    if read != made:
        raise UserError(
            f"{model}: a denoiser that reads text of width {read} and a text encoder of width "
            f"{made}; take both from one checkpoint"
        )
