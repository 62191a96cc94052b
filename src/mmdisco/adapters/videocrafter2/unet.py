"""VideoCrafter2's U-Net: ε of video latents from level, frame rate and prompt.

Chen et al. 2024, arXiv:2401.09047: the U-Net of Stable Diffusion 2, with convolutions and attention
through time after each of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from diffusers.models.embeddings import get_timestep_embedding
from torch import Tensor, nn

from mmdisco.adapters.videocrafter2.layers import (
    GROUPS,
    AttentionShape,
    BlockContext,
    Downsample,
    TemporalTransformer,
    TransformerBlock,
    fold,
    unfold,
)
from mmdisco.io.bounds import check_sizes
from mmdisco.shapes import PerSample, Tokens, VideoLatent


@dataclass(frozen=True)
class UNetShape:
    """Sizes of a ``UNet``; the defaults are those of the published weights.

    Attributes:
        latent: Channels of the latent.
        channels: Of the first convolution, a multiple of 32.
        multipliers: Of the channels, level by level; every level halves height and width.
        blocks: A level on the way down; one more on the way up.
        attention_factors: Reductions of height and width at which blocks have attention.
        head_width: Channels of an attention head.
        context: Width of the prompt's tokens.
        first_heads: Heads of the attention through time before the first block.
    """

    latent: int = 4
    channels: int = 320
    multipliers: tuple[int, ...] = (1, 2, 4, 4)
    blocks: int = 2
    attention_factors: tuple[int, ...] = (1, 2, 4)
    head_width: int = 64
    context: int = 1024
    first_heads: int = 8

    def __post_init__(self) -> None:
        check_sizes(self)

    @property
    def factor(self) -> int:
        """By which height and width shrink in all; both must be multiples of it."""
        return 2 ** (len(self.multipliers) - 1)

    @property
    def embedding(self) -> int:
        """Width of the embedded level."""
        return 4 * self.channels

    def attention(self, channels: int, factor: int) -> AttentionShape | None:
        """The attention of a block of ``channels`` where the map is reduced by ``factor``."""
        if factor not in self.attention_factors:
            return None
        return AttentionShape(channels // self.head_width, self.head_width, self.context)


class UNet(nn.Module):
    """The network; see ``UNetShape`` for its sizes."""

    def __init__(self, shape: UNetShape) -> None:
        super().__init__()
        self.shape = shape
        self.level_embedding = _embedding(shape)
        self.rate_embedding = _embedding(shape)
        self.first = nn.Conv2d(shape.latent, shape.channels, 3, padding=1)
        heads = AttentionShape(shape.first_heads, shape.head_width, shape.context)
        self.first_temporal = TemporalTransformer(shape.channels, heads.inside)
        skips = [shape.channels]
        self.down = nn.ModuleList(_down(shape, skips))
        deepest = skips[-1]
        # the middle has attention at any reduction, unlike the blocks of its level
        within = AttentionShape(deepest // shape.head_width, shape.head_width, shape.context)
        self.middle = nn.ModuleList(
            [
                TransformerBlock(deepest, deepest, shape.embedding, within),
                TransformerBlock(deepest, deepest, shape.embedding, None),
            ]
        )
        self.up = nn.ModuleList(_up(shape, skips))
        self.last = nn.Sequential(
            nn.GroupNorm(GROUPS, shape.channels),
            nn.SiLU(),
            nn.Conv2d(shape.channels, shape.latent, 3, padding=1),
        )

    def forward(self, x: VideoLatent, t: PerSample, fps: PerSample, tokens: Tokens) -> VideoLatent:
        """ε of noisy latents.

        Args:
            x: (b, c, f, h, w); h and w are multiples of the shape's factor, f is any.
            t: Training timestep of each sample, 0 to 999.
            fps: Frames a second that each clip is to be shown at.
            tokens: The encoded prompt of each sample.
        """
        frames = x.shape[2]
        level = self.level_embedding(self._waves(t)) + self.rate_embedding(self._waves(fps))
        at = BlockContext(
            level.repeat_interleave(frames, 0), tokens.repeat_interleave(frames, 0), frames
        )
        h = self.first_temporal(self.first(fold(x)), at)
        skips = [h]
        for block in self.down:
            h = block(h, at)
            skips.append(h)
        for block in self.middle:
            h = block(h, at)
        for block in self.up:
            h = block(torch.cat([h, skips.pop()], 1), at)
        return unfold(self.last(h), frames)

    def _waves(self, value: Tensor) -> Tensor:
        waves = get_timestep_embedding(
            value, self.shape.channels, flip_sin_to_cos=True, downscale_freq_shift=0
        )
        return waves.to(self.first.weight.dtype)


def _embedding(shape: UNetShape) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(shape.channels, shape.embedding),
        nn.SiLU(),
        nn.Linear(shape.embedding, shape.embedding),
    )


def _down(shape: UNetShape, skips: list[int]) -> Iterator[nn.Module]:
    """The way down; the channels of what it leaves to the way up are added to ``skips``."""
    for level, multiplier in enumerate(shape.multipliers):
        channels = multiplier * shape.channels
        if level:
            yield Downsample(skips[-1])
            skips.append(skips[-1])
        for _ in range(shape.blocks):
            attention = shape.attention(channels, 2**level)
            yield TransformerBlock(skips[-1], channels, shape.embedding, attention)
            skips.append(channels)


def _up(shape: UNetShape, skips: list[int]) -> Iterator[nn.Module]:
    """The way up, which takes ``skips`` from the last to the first."""
    left, width = list(skips), skips[-1]
    for level, multiplier in reversed(list(enumerate(shape.multipliers))):
        channels = multiplier * shape.channels
        for block in range(shape.blocks + 1):
            yield TransformerBlock(
                width + left.pop(),
                channels,
                shape.embedding,
                shape.attention(channels, 2**level),
                enlarges=level > 0 and block == shape.blocks,
            )
            width = channels
