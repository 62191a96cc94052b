"""The layers of VideoCrafter2's U-Net: convolutions and attention, in space and through time.

Chen et al. 2024, arXiv:2401.09047. Frames are folded into the batch, (b·f, c, h, w); what looks
along time unfolds them itself. For inference alone: there is no dropout.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

GROUPS: Final = 32


@dataclass(frozen=True)
class BlockContext:
    """What every block is told beside the pixels.

    Attributes:
        level: Embedded noise level and frame rate of each frame, (b·f, embedding).
        context: Tokens of each frame's prompt, (b·f, tokens, context).
        frames: f, by which the batch unfolds.
    """

    level: Tensor
    context: Tensor
    frames: int


class TransformerBlock(nn.Module):
    """A residual block and, where the map is small enough, attention in space and through time.

    Args:
        channels_in: Of the input.
        channels_out: Of the output.
        embedding: Width of the embedded level.
        attention: None for none.
        enlarges: Whether the result is doubled in height and width.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        embedding: int,
        attention: "AttentionShape | None",
        *,
        enlarges: bool = False,
    ) -> None:
        super().__init__()
        self.residual = ResidualBlock(channels_in, channels_out, embedding)
        self.spatial = None if attention is None else SpatialTransformer(channels_out, attention)
        self.temporal = (
            None if attention is None else TemporalTransformer(channels_out, attention.inside)
        )
        self.resample = Upsample(channels_out) if enlarges else None

    def forward(self, x: Tensor, at: BlockContext) -> Tensor:
        """(b·f, c, h, w) to (b·f, c′, h′, w′)."""
        x = self.residual(x, at)
        if self.spatial is not None and self.temporal is not None:
            x = self.temporal(self.spatial(x, at), at)
        return x if self.resample is None else self.resample(x)


class Downsample(nn.Module):
    """Half the height and width, by a convolution of stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.resample = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor, at: BlockContext) -> Tensor:
        """(b·f, c, h, w) to (b·f, c, h/2, w/2); the circumstances do not matter."""
        return self.resample(x)


class Upsample(nn.Module):
    """Twice the height and width: every pixel four times, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, h, w) to (b, c, 2h, 2w)."""
        return self.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))


class ResidualBlock(nn.Module):
    """Two convolutions in space, the level added between them; then four through time."""

    def __init__(self, channels_in: int, channels_out: int, embedding: int) -> None:
        super().__init__()
        self.before = nn.Sequential(
            nn.GroupNorm(GROUPS, channels_in),
            nn.SiLU(),
            nn.Conv2d(channels_in, channels_out, 3, padding=1),
        )
        self.level = nn.Sequential(nn.SiLU(), nn.Linear(embedding, channels_out))
        self.after = nn.Sequential(
            nn.GroupNorm(GROUPS, channels_out),
            nn.SiLU(),
            nn.Conv2d(channels_out, channels_out, 3, padding=1),
        )
        same = channels_in == channels_out
        self.skip = nn.Identity() if same else nn.Conv2d(channels_in, channels_out, 1)
        self.through_time = nn.Sequential(*(_through_time(channels_out) for _ in range(4)))

    def forward(self, x: Tensor, at: BlockContext) -> Tensor:
        """(b·f, c, h, w) to (b·f, c′, h, w)."""
        h = self.before(x) + self.level(at.level)[..., None, None]
        clips = unfold(self.skip(x) + self.after(h), at.frames)
        return fold(clips + self.through_time(clips))


def _through_time(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.GroupNorm(GROUPS, channels),
        nn.SiLU(),
        nn.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0)),
    )


@dataclass(frozen=True)
class AttentionShape:
    """How a transformer block looks at its tokens.

    Attributes:
        heads: Number of heads.
        head_width: Channels of each.
        context: Width of the tokens that the second attention reads.
    """

    heads: int
    head_width: int
    context: int

    @property
    def width(self) -> int:
        """Width of the tokens."""
        return self.heads * self.head_width

    @property
    def inside(self) -> "AttentionShape":
        """Shape of a second attention that reads the tokens themselves."""
        return AttentionShape(self.heads, self.head_width, self.width)


class SpatialTransformer(nn.Module):
    """Every pixel of a frame looks at the others of its frame, then at the prompt."""

    def __init__(self, channels: int, shape: AttentionShape) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels, eps=1e-6)
        self.tokens = TokenTransformer(channels, shape)

    def forward(self, x: Tensor, at: BlockContext) -> Tensor:
        """(b·f, c, h, w), unchanged in shape."""
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        return x + self.tokens(tokens, at.context).transpose(1, 2).reshape(x.shape)


class TemporalTransformer(nn.Module):
    """Every pixel looks, twice, at the same place in all frames."""

    def __init__(self, channels: int, shape: AttentionShape) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels, eps=1e-6)
        self.tokens = TokenTransformer(channels, shape)

    def forward(self, x: Tensor, at: BlockContext) -> Tensor:
        """(b·f, c, h, w), unchanged in shape."""
        clips = self.norm(unfold(x, at.frames))
        b, c, f, h, w = clips.shape
        tokens = clips.permute(0, 3, 4, 2, 1).reshape(b * h * w, f, c)
        seen = self.tokens(tokens, None).reshape(b, h, w, f, c).permute(0, 3, 4, 1, 2)
        return x + seen.reshape(x.shape)


class TokenTransformer(nn.Module):
    """One transformer block between two linear maps."""

    def __init__(self, channels: int, shape: AttentionShape) -> None:
        super().__init__()
        self.enter = nn.Linear(channels, shape.width)
        self.norm1 = nn.LayerNorm(shape.width)
        self.norm2 = nn.LayerNorm(shape.width)
        self.norm3 = nn.LayerNorm(shape.width)
        self.attention1 = MultiHeadAttention(shape.inside)
        self.attention2 = MultiHeadAttention(shape)
        self.gate = nn.Linear(shape.width, 8 * shape.width)
        self.narrow = nn.Linear(4 * shape.width, shape.width)
        self.leave = nn.Linear(shape.width, channels)

    def forward(self, tokens: Tensor, context: Tensor | None) -> Tensor:
        """(b, tokens, c), unchanged in shape.

        Args:
            tokens: To be looked at and changed.
            context: What the second attention reads; None for the tokens themselves.
        """
        x = self.enter(tokens)
        normed = self.norm1(x)
        x = x + self.attention1(normed, normed)
        normed = self.norm2(x)
        x = x + self.attention2(normed, normed if context is None else context)
        wide, gate = self.gate(self.norm3(x)).chunk(2, dim=-1)
        x = x + self.narrow(wide * functional.gelu(gate))
        return self.leave(x)


class MultiHeadAttention(nn.Module):
    """Scaled dot products of several heads (Vaswani et al. 2017)."""

    def __init__(self, shape: AttentionShape) -> None:
        super().__init__()
        self.head_width = shape.head_width
        self.query = nn.Linear(shape.width, shape.width, bias=False)
        self.key = nn.Linear(shape.context, shape.width, bias=False)
        self.value = nn.Linear(shape.context, shape.width, bias=False)
        self.out = nn.Linear(shape.width, shape.width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(b, tokens, width) that read (b, others, context)."""
        q, k, v = (
            part.unflatten(-1, (-1, self.head_width)).transpose(1, 2)
            for part in (self.query(x), self.key(context), self.value(context))
        )
        seen = functional.scaled_dot_product_attention(q, k, v)
        return self.out(seen.transpose(1, 2).flatten(2))


def unfold(x: Tensor, frames: int) -> Tensor:
    """(b·f, c, h, w) to (b, c, f, h, w)."""
    return x.unflatten(0, (-1, frames)).transpose(1, 2)


def fold(clips: Tensor) -> Tensor:
    """(b, c, f, h, w) to (b·f, c, h, w)."""
    return torch.flatten(clips.transpose(1, 2), 0, 1)
