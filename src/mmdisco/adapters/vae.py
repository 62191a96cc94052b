"""A diffusers autoencoder as both codecs use it: the mean of its posterior, its scale, its type.

Seconds to whole steps of a model, with one clear line where they do not fit.

Checks that parts which were put together belong together. Knows configurations only.
"""

import math
from fractions import Fraction
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from mmdisco.errors import UserError
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


_SLACK = 1e-6


def whole_steps(seconds: float, rate: Fraction, model: str, step: str) -> int:
    """How many steps of a model last ``seconds``.

    Args:
        seconds: Length asked for.
        rate: Steps a second.
        model: For the message.
        step: What one step is, for the message.

    Raises:
        UserError: The length is not positive, or no whole number of steps; it names the nearest
            lengths that are.
    """
    steps = seconds * float(rate)
    if math.isfinite(steps) and round(steps) >= 1 and abs(steps - round(steps)) < _SLACK:
        return round(steps)
    below = max(1, math.floor(steps)) if math.isfinite(steps) else 1
    near = sorted({below, below + 1 if steps > 1 else 1})
    lengths = " or ".join(f"{float(count / rate):g}" for count in near)
    raise UserError(
        f"{seconds:g} seconds: {model} makes whole {step}s of {float(1 / rate):g} s; "
        f"ask for {lengths}"
    )


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
