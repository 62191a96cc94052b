"""A diffusers autoencoder as both codecs use it: the mean of its posterior, its scale, its type."""

from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from mmdisco.shapes import Latent


class ScaledAutoencoder:
    """Images ↔ the latents that a denoiser was trained on.

    Args:
        vae: With the factor in its configuration that brings latents to unit variance.
        device: Where it computes.
    """

    def __init__(self, vae: AutoencoderKL, device: torch.device) -> None:
        self._vae: Any = vae
        self._device = device

    @property
    def factor(self) -> int:
        """Pixels a latent step, in height and in width."""
        return 2 ** (len(self._vae.config["block_out_channels"]) - 1)

    @property
    def channels(self) -> int:
        """Channels of a latent."""
        return self._vae.config["latent_channels"]

    def encode(self, images: Tensor) -> Latent:
        """The posterior's mean of images (b, c, height, width), scaled; float32 on the CPU."""
        with torch.no_grad():
            posterior = self._vae.encode(images.to(self._device, self._vae.dtype)).latent_dist
            return (posterior.mode() * self._vae.config["scaling_factor"]).float().cpu()

    def decode(self, latents: Latent) -> Tensor:
        """Images of latents, on the device and in the type of the network."""
        with torch.no_grad():
            own = latents.to(self._device, self._vae.dtype)
            return self._vae.decode(own / self._vae.config["scaling_factor"]).sample
