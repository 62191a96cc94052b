"""Attention inside the towers, and from one tower to the other.

No published discriminator uses it; the release's network supports it. All of it is written out,
so that it can be differentiated twice.
"""

from abc import ABC, abstractmethod
from typing import Final

import torch
from torch import Tensor, nn
from typing_extensions import override

from mmdisco.core.av import AV, each
from mmdisco.io.shapes import Latent, Tokens

GROUPS: Final = 32


class OfficialAttention(nn.Module, ABC):
    """Attention at the end of a residual block, added to its input."""

    @abstractmethod
    def forward(self, x: Latent) -> Latent:
        """Map (b, c, time, *space) to the same shape."""


class NoAttention(OfficialAttention):
    """Identity: the end of a block in all published discriminators."""

    @override
    def forward(self, x: Latent) -> Latent:
        return x


class AttentionEverywhere(OfficialAttention):
    """Self-attention of a sound over all its positions."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.over_all = OfficialSelfAttention(channels, heads)

    def forward(self, x: Latent) -> Latent:
        """Map (b, c, l) or (b, c, l, m) to the same shape."""
        return from_tokens(self.over_all(to_tokens(x)), x)


class AttentionInSpaceAndTime(OfficialAttention):
    """Self-attention over the positions of each frame, then over all frames at each position.

    The norm covers the attended sequence: one frame at a time, then one position at a time.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.over_space = OfficialSelfAttention(channels, heads)
        self.over_time = OfficialSelfAttention(channels, heads)

    def forward(self, x: Latent) -> Latent:
        """Map (b, c, f, h, w) to the same shape."""
        batch, _, _, height, width = x.shape
        positions = x.movedim(1, -1).flatten(2, 3)  # (b, f, h·w, c)
        by_frame = self.over_space(positions.flatten(0, 1)).unflatten(0, (batch, -1))
        by_place = by_frame.transpose(1, 2).flatten(0, 1)  # (b·h·w, f, c)
        attended = self.over_time(by_place).unflatten(0, (batch, -1)).transpose(1, 2)
        return attended.unflatten(2, (height, width)).movedim(-1, 1)


class Projections(nn.Module):
    """Norm, QKV projection and output projection of one modality's tokens."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.into = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def split(self, tokens: Tokens, heads: int) -> list[Tensor]:
        """Return queries, keys and values, (b, heads, tokens, c / heads) each."""
        normed = self.norm(tokens.transpose(1, 2)).transpose(1, 2)
        return [
            one.unflatten(2, (heads, -1)).transpose(1, 2)
            for one in self.into(normed).chunk(3, dim=2)
        ]


class OfficialSelfAttention(nn.Module):
    """Self-attention over one sequence of tokens."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.projections = Projections(channels)

    def forward(self, tokens: Tokens) -> Tokens:
        """Return the tokens plus their attention output."""
        query, key, value = self.projections.split(tokens, self.heads)
        return tokens + self.projections.out(attend(query, key, value))


class CrossExchange(nn.Module, ABC):
    """Exchange between the towers at the end of a block."""

    @abstractmethod
    def forward(self, z: AV[Tensor]) -> AV[Tensor]:
        """Map both latents to the same shapes."""


class NoExchange(CrossExchange):
    """No exchange, as in all published discriminators."""

    @override
    def forward(self, z: AV[Tensor]) -> AV[Tensor]:
        return z


class CrossAttention(CrossExchange):
    """Cross-attention from every position of either latent to all of the other."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.audio = Projections(channels)
        self.video = Projections(channels)

    @override
    def forward(self, z: AV[Tensor]) -> AV[Tensor]:
        own = AV(self.audio, self.video)
        tokens = z.map(to_tokens)
        sides = each(lambda side, given: side.split(given, self.heads), own, tokens)

        def take(own: Projections, x: Tensor, mine: list[Tensor], other: list[Tensor]) -> Tensor:
            return x + own.out(attend(mine[0], other[1], other[2]))

        return each(from_tokens, each(take, own, tokens, sides, sides.swap()), z)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tokens:
    """Return softmax(Q Kᵀ / √d) V: (b, heads, tokens, d) of each to (b, tokens, heads · d)."""
    weights = torch.softmax(query @ key.mT * query.shape[-1] ** -0.5, dim=-1)
    return (weights @ value).transpose(1, 2).flatten(2)


def to_tokens(x: Latent) -> Tokens:
    """Reshape (b, c, time, *space) to (b, positions, c)."""
    return x.movedim(1, -1).flatten(1, -2)


def from_tokens(tokens: Tokens, like: Latent) -> Latent:
    """Reshape (b, positions, c) to (b, c, time, *space) of the extent of ``like``."""
    return tokens.unflatten(1, like.shape[2:]).movedim(-1, 1)
