"""VideoCrafter2's U-Net (Chen et al. 2024, arXiv:2401.09047) and the noise levels of its training.

The U-Net is ModelScope's, which diffusers has: that of Stable Diffusion 2, with convolutions and
attention through time after each of its own. Here the frame rate is embedded like the timestep and
added to it.

The β table is linear in √β (Rombach et al. 2022), and the clean latent is scaled down as noise
grows: x_t = √ᾱ_t c_t x_0 + √(1 − ᾱ_t) ε, where c falls from 1 to 0.7 over the first 400 steps and
stays. So α² + σ² < 1 there: the scale belongs to α, and every sampler takes it into account.
"""

from collections.abc import Mapping
from typing import Any, Final

import torch
from diffusers import UNet3DConditionModel
from diffusers.models.embeddings import TimestepEmbedding
from torch import Tensor, nn

from mmdisco.core.noise import NoiseSchedule, variance_preserving
from mmdisco.io.shapes import PerSample, Table, Tokens, VideoLatent

STEPS: Final = 1000
FIRST: Final = 0.00085
LAST: Final = 0.012
FALLING: Final = 400
LOWEST: Final = 0.7


class TimeAndRateEmbedding(nn.Module):
    """Sum of the embeddings of timestep and frame rate.

    Args:
        features: Number of sines and cosines.
        width: Width of the embedding.
    """

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.time = TimestepEmbedding(features, width)
        self.rate = TimestepEmbedding(features, width)

    def forward(self, time: Tensor, rate: Tensor) -> Tensor:
        """Map the sines and cosines of both, (b, features), to (b, width)."""
        return self.time(time) + self.rate(rate)


def new_unet(config: Mapping[str, Any]) -> UNet3DConditionModel:
    """Build the network of a configuration of diffusers' ``UNet3DConditionModel``."""
    kind: Any = UNet3DConditionModel
    unet = kind.from_config(dict(config))
    features: int = unet.config["block_out_channels"][0]
    unet.time_embedding = TimeAndRateEmbedding(features, 4 * features)
    return unet


def run_unet(
    unet: UNet3DConditionModel, x_t: VideoLatent, t: PerSample, fps: float, tokens: Tokens
) -> Tensor:
    """Predict ε of noisy latents.

    Args:
        unet: A network of ``new_unet``.
        x_t: Latents (b, c, f, h, w).
        t: Training timestep of each sample, 0 to 999.
        fps: Frames per second at which the clips are to be shown.
        tokens: The encoded prompt of each sample.
    """
    network: Any = unet
    rate = network.time_proj(torch.full_like(t, fps)).to(x_t.dtype)
    return network(x_t, t, tokens, timestep_cond=rate).sample


def clean_scales() -> Table:
    """Return c_t of each training timestep, float64."""
    falling = torch.linspace(1, LOWEST, FALLING, dtype=torch.float64)
    return torch.cat([falling, torch.full((STEPS - FALLING,), LOWEST, dtype=torch.float64)])


def training_betas() -> Table:
    """Return β_t of each training timestep, float64."""
    return torch.linspace(FIRST**0.5, LAST**0.5, STEPS, dtype=torch.float64).square()


def training_schedule() -> NoiseSchedule:
    """Return α = √ᾱ c and σ = √(1 − ᾱ) of each training timestep."""
    plain = variance_preserving(training_betas())
    return NoiseSchedule(plain.times, plain.alphas * clean_scales(), plain.sigmas)
