"""Convolutional towers: a latent in, one feature vector per time step out.

The residual block is that of the released MMDisCo discriminator: GroupNorm, SiLU, convolution
of 3 taps, average pool, scale and shift by an embedding, SiLU, convolution of 1 tap, and a
skip. A tower sees one latent, its noise level and one embedding; it is independent of captions
and of the other tower. Nothing depends on batch mates, since the norms are per sample.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from mmdisco.core.noise import NoiseLevel
from mmdisco.discriminators.convolutions import Latents, Pointwise, channels_last
from mmdisco.errors import UserError
from mmdisco.io.shapes import Latent, Tokens, Vector

MOST_GROUPS = 32
CHANNELS_PER_GROUP = 4


@dataclass(frozen=True)
class Frugality:
    """Memory of a tower on large latents, for accuracy or for time.

    Attributes:
        bfloat16: Whether blocks compute in bfloat16. Their weights stay float32, and so does all
            that follows a tower.
        gradient_checkpointing: Whether the backward pass computes a block again instead of keeping
            what is inside of it (Chen et al. 2016).
    """

    bfloat16: bool = False
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        if {type(self.bfloat16), type(self.gradient_checkpointing)} != {bool}:
            raise UserError(f"discriminator {self}: give true or false")

    def run(self, block: nn.Module, *inputs: Tensor) -> Tensor:
        """Return the output of a block, of a tower's dtype."""
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return checkpoint(self._computed, block, *inputs, use_reentrant=False)
        return self._computed(block, *inputs)

    def _computed(self, block: nn.Module, *inputs: Tensor) -> Tensor:
        if not self.bfloat16:
            return block(*inputs)
        weights = {name: one.bfloat16() for name, one in block.named_parameters()}
        return functional_call(block, weights, tuple(one.bfloat16() for one in inputs))


class ResBlock(nn.Module):
    """One residual block; its branch starts at zero, so a new tower is a chain of its skips.

    Args:
        latents: The kind of latent.
        channels: Channels of the input.
        out_channels: Channels of the output.
        embedding: Width of the embedding.
        window: Size of the average on each axis.
    """

    def __init__(
        self,
        latents: Latents,
        channels: int,
        out_channels: int,
        embedding: int,
        window: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.groups = num_groups(out_channels)
        self.norm = nn.GroupNorm(num_groups(channels), channels)
        self.wide = latents.wide(channels, out_channels, window)
        self.modulation = nn.Linear(embedding, 2 * out_channels)
        self.last = Pointwise(out_channels, out_channels)
        self.pool = nn.Identity() if max(window) == 1 else latents.pool(window)
        self.skip = nn.Identity() if channels == out_channels else Pointwise(channels, out_channels)
        nn.init.zeros_(self.last.linear.weight)
        nn.init.zeros_(self.last.linear.bias)

    def forward(self, x: Tensor, embedding: Vector) -> Tensor:
        """Map (b, c, time, *space); every axis after c is divided by its window."""
        branch = self.wide(functional.silu(self.norm(x)))
        modulation = self.modulation(functional.silu(embedding))
        scale, shift = modulation.unflatten(1, (-1, *[1] * (x.ndim - 2))).chunk(2, dim=1)
        branch = functional.group_norm(branch, self.groups) * (1 + scale) + shift
        return self.last(functional.silu(branch)) + self.skip(self.pool(x))


class Tower(nn.Module):
    """Residual blocks in levels of growing width, a pool between levels, and a mean over space.

    Args:
        latents: The kind of latent.
        width: Channels of the first level.
        depth: Residual blocks per level.
        channel_mult: Channels of each level, in units of ``width``.
        embedding: Width of the embedding.
        frugality: Precision of the blocks, and what their backward pass keeps.
    """

    def __init__(
        self,
        latents: Latents,
        *,
        width: int,
        depth: int,
        channel_mult: tuple[int, ...],
        embedding: int,
        frugality: Frugality | None = None,
    ) -> None:
        super().__init__()
        self.frugality = frugality or Frugality()
        window = latents.window()
        unpooled = (1,) * len(window)
        self.smallest = tuple(size ** (len(channel_mult) - 1) for size in window)
        self.features = width * channel_mult[-1]
        self.rate = latents.rate / self.smallest[0]
        channels = width * channel_mult[0]
        self.read = latents.reader()
        self.first = latents.wide(self.read.values, channels, unpooled)
        blocks: list[ResBlock] = []
        for level, multiplier in enumerate(channel_mult):
            if level > 0:
                blocks.append(ResBlock(latents, channels, channels, embedding, window))
            for _ in range(depth):
                wanted = width * multiplier
                blocks.append(ResBlock(latents, channels, wanted, embedding, unpooled))
                channels = wanted
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Latent, level: NoiseLevel, embedding: Vector) -> Tokens:
        """Return the features of each time step, (b, steps, features), of a latent in VP units.

        Raises:
            UserError: An axis is shorter than the window of all pools together.
        """
        x = self.read(x, level)
        if any(size < least for size, least in zip(x.shape[2:], self.smallest, strict=True)):
            raise UserError(
                f"latent of {tuple(x.shape[2:])} (time, then space) is too small for the "
                f"discriminator's tower: give at least {self.smallest}"
            )
        run = self.frugality.run
        x = run(self.first, channels_last(x))
        for block in self.blocks:
            x = run(block, x, embedding)
        positions = x.to(embedding.dtype).movedim(1, -1)
        return positions.reshape(*positions.shape[:2], -1, positions.shape[-1]).mean(2)


def num_groups(channels: int) -> int:
    """Return a GroupNorm's groups: at most 32 and, where they divide, of 4 or more channels.

    From 128 channels on there are 32, as in the release; narrower towers have fewer rather than
    groups of one channel, whose norm would erase the channel's mean over the clip.
    """
    most = max(1, min(MOST_GROUPS, channels // CHANNELS_PER_GROUP))
    return max(groups for groups in range(1, most + 1) if channels % groups == 0)
