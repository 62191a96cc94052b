"""VideoCrafter2's U-Net (Chen et al. 2024, arXiv:2401.09047): ModelScope's, told the frame rate.

diffusers has ModelScope's: the U-Net of Stable Diffusion 2, with convolutions and attention through
time after each of its own. Here the frame rate is embedded like the timestep and added to it.
"""

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import UNet3DConditionModel
from diffusers.models.embeddings import TimestepEmbedding
from torch import Tensor, nn

from mmdisco.shapes import PerSample, Tokens, VideoLatent


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
