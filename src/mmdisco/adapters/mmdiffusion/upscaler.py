"""Super-resolution network: guided diffusion's U-Net on a noisy frame and the small one.

Dhariwal & Nichol 2021 (arXiv:2105.05233), as MM-Diffusion uses it; for inference. Knows no schedule
and no files.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmdisco.adapters.mmdiffusion.config import UpscalerConfig
from mmdisco.adapters.mmdiffusion.layers import (
    Convolution,
    GroupNorm,
    MMDiffusionTimeEmbedding,
    double,
    halve,
    scale_and_shift,
)
from mmdisco.errors import UserError
from mmdisco.shapes import PerSample, Vector

EMBEDDING = 4
"""Width of the embedding, in units of the first level's."""


class UpscalerNetwork(nn.Module):
    """Network that predicts ε of a large frame, from the noisy frame and the small one.

    Args:
        config: Shape of the network.
    """

    def __init__(self, config: UpscalerConfig) -> None:
        super().__init__()
        self.config = config
        width = config.levels[0]
        builder = _Builder(config, EMBEDDING * width)
        self.time = MMDiffusionTimeEmbedding(width, EMBEDDING * width)
        self.entry = Convolution(6, width)
        self.encoder = nn.ModuleDict(builder.encoder())
        self.middle = nn.ModuleList(builder.middle())
        self.decoder = nn.ModuleList(builder.decoder())
        self.head_norm = GroupNorm(width)
        self.head = Convolution(width, 6)

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
        embedding = self.time(t)
        seen = functional.interpolate(small, (height, width), mode="bilinear")
        images = torch.cat([x_t, seen], 1).permute(0, 2, 3, 1).contiguous()
        x = self.entry(images)
        skips = [x]
        for stage in self.encoder.values():
            x = stage(x, embedding)
            skips.append(x)
        for part in self.middle:
            x = part(x, embedding)
        for stage in self.decoder:
            x = stage(torch.cat([x, skips.pop()], -1), embedding)
        return self.head(functional.silu(self.head_norm(x), inplace=True)).permute(0, 3, 1, 2)


class ImageBlock(nn.Module):
    """Residual block of images (n, h, w, c).

    Args:
        channels: Channels of the input.
        out_channels: Channels of the output.
        embedding: Width of the embedding.
        resize: Change of size after the first norm, and of the skip.
    """

    def __init__(
        self, channels: int, out_channels: int, embedding: int, resize: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.norm = GroupNorm(channels)
        self.resize = resize or nn.Identity()
        self.first = Convolution(channels, out_channels)
        self.modulation = nn.Linear(embedding, 2 * out_channels)
        self.inner_norm = GroupNorm(out_channels)
        self.second = Convolution(out_channels, out_channels)
        self.skip = nn.Identity() if channels == out_channels else nn.Linear(channels, out_channels)

    def forward(self, x: Tensor, embedding: Vector) -> Tensor:
        """Map (n, h, w, c) to (n, h′, w′, c′)."""
        branch = self.first(self.resize(functional.silu(self.norm(x), inplace=True)))
        branch = scale_and_shift(self.inner_norm(branch), self.modulation(embedding))
        return self.second(functional.silu(branch, inplace=True)) + self.skip(self.resize(x))


class UpscalerDownsample(nn.Module):
    """Average over 2 × 2 positions."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, h, w, c) to (n, h/2, w/2, c)."""
        return halve(x)


class UpscalerUpsample(nn.Module):
    """Repetition of every position to 2 × 2."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, h, w, c) to (n, 2 h, 2 w, c)."""
        return double(x)


class ImageAttention(nn.Module):
    """Self-attention over the positions of an image.

    Args:
        channels: Channels, a multiple of 32.
        heads: Number of heads, a divisor of the channels.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = GroupNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor, embedding: Vector) -> Tensor:
        """Map (n, h, w, c) to the same shape; the embedding has no effect."""
        rows = self.qkv(self.norm(x)).flatten(1, 2)
        # (n, places, heads · 3 · d) -> three of (n, heads, places, d)
        parts = rows.unflatten(2, (self.heads, 3, -1)).permute(3, 0, 2, 1, 4)
        seen = functional.scaled_dot_product_attention(*parts.unbind(0))
        return x + self.out(seen.transpose(1, 2).flatten(2)).reshape(x.shape)


class ImageStage(nn.Module):
    """Blocks between two skips."""

    def __init__(self, parts: list[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor, embedding: Vector) -> Tensor:
        """Apply all of them."""
        for part in self.parts:
            x = part(x, embedding)
        return x


class _Builder:
    def __init__(self, config: UpscalerConfig, embedding: int) -> None:
        self._config = config
        self._embedding = embedding
        self._widths = [config.levels[0]]

    def encoder(self) -> dict[str, nn.Module]:
        levels = self._config.levels
        stages: list[nn.Module] = []
        for index, channels in enumerate(levels):
            for _ in range(self._config.depth):
                stages.append(self._stage(index, self._widths[-1]))
                self._widths.append(channels)
            if index < len(levels) - 1:
                stages.append(ImageStage([self._block(channels, channels, UpscalerDownsample())]))
                self._widths.append(channels)
        # numbered as published, where 0 is the entry
        return {str(number): stage for number, stage in enumerate(stages, start=1)}

    def middle(self) -> list[nn.Module]:
        channels = self._config.levels[-1]
        attention = ImageAttention(channels, self._config.heads)
        return [self._block(channels, channels), attention, self._block(channels, channels)]

    def decoder(self) -> list[nn.Module]:
        stages: list[nn.Module] = []
        channels = self._widths[-1]
        for index, out_channels in reversed(list(enumerate(self._config.levels))):
            for remaining in range(self._config.depth, -1, -1):
                stage = self._stage(index, channels + self._widths.pop())
                channels = out_channels
                if index and not remaining:
                    stage.parts.append(self._block(channels, channels, UpscalerUpsample()))
                stages.append(stage)
        return stages

    def _stage(self, index: int, channels: int) -> ImageStage:
        out_channels = self._config.levels[index]
        parts: list[nn.Module] = [self._block(channels, out_channels)]
        if self._config.attention[index]:
            parts.append(ImageAttention(out_channels, self._config.heads))
        return ImageStage(parts)

    def _block(
        self, channels: int, out_channels: int, resize: nn.Module | None = None
    ) -> ImageBlock:
        return ImageBlock(channels, out_channels, self._embedding, resize)
