"""Super-resolution network: guided diffusion's U-Net on a noisy frame and the small one.

Dhariwal & Nichol 2021 (arXiv:2105.05233), as MM-Diffusion uses it: diffusers' ``UNet2DModel``.
Knows no schedule and no files.
"""

from typing import Any

import torch
from diffusers import UNet2DModel
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn
from torch.nn import functional

from mmdisco.adapters.mmdiffusion.config import UpscalerConfig
from mmdisco.errors import UserError
from mmdisco.shapes import PerSample


class UpscalerNetwork(nn.Module):
    """Network that predicts ε of a large frame, from the noisy frame and the small one.

    Args:
        config: Shape of the network.
    """

    def __init__(self, config: UpscalerConfig) -> None:
        super().__init__()
        self.config = config
        down = ["AttnDownBlock2D" if one else "ResnetDownsampleBlock2D" for one in config.attention]
        up = ["AttnUpBlock2D" if one else "ResnetUpsampleBlock2D" for one in config.attention]
        kind: Any = UNet2DModel
        self.unet: UNet2DModel = kind(
            in_channels=6,
            out_channels=6,
            block_out_channels=config.levels,
            down_block_types=tuple(down),
            up_block_types=tuple(reversed(up)),
            layers_per_block=config.depth,
            downsample_type="resnet",
            upsample_type="resnet",
            resnet_time_scale_shift="scale_shift",
            attention_head_dim=config.levels[-1] // config.heads,
            attn_norm_num_groups=32,
            norm_eps=1e-5,
        )
        for module in self.unet.modules():
            if isinstance(module, Attention):
                # as many heads at every level, where diffusers has heads of one width
                module.heads = config.heads

    def forward(self, x_t: Tensor, t: PerSample, small: Tensor) -> Tensor:
        """Predict ε, and beside it the logits of a variance that DDIM does not use.

        Args:
            x_t: Noisy frames (n, 3, h, w), in [−1, 1] where clean.
            t: Training timestep of each frame, in [0, 1000).
            small: Small frames (n, 3, h′, w′) of any size, in [−1, 1].

        Returns:
            (n, 6, h, w): ε in the first three channels.

        Raises:
            UserError: The frames do not divide into the network's levels.
        """
        unit = 2 ** (len(self.config.levels) - 1)
        height, width = x_t.shape[2:]
        if height % unit or width % unit:
            raise UserError(f"frames of {width}×{height}: the upscaler takes multiples of {unit}")
        seen = functional.interpolate(small, (height, width), mode="bilinear")
        unet: Any = self.unet
        return unet(torch.cat([x_t, seen], 1), t.float()).sample
