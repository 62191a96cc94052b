"""Attention inside the towers, and from one tower to the other.

Nothing that is published has any; the release's network can have it. All of it is written out, so
that it can be differentiated twice.
"""

from abc import ABC, abstractmethod
from typing import Final

import torch
from torch import Tensor, nn

from mmdisco.core.av import AV, each
from mmdisco.shapes import Latent, Tokens

GROUPS: Final = 32


class OfficialAttention(nn.Module, ABC):
    """Attention at the end of a residual block; adds to what it is given."""

    @abstractmethod
    def forward(self, x: Latent) -> Latent:
        """(b, c, time, *space), nothing but the values changed."""


class NoAttention(OfficialAttention):
    """The end of a block as it is published."""

    def forward(self, x: Latent) -> Latent:
        """``x`` itself."""
        return x


class AttentionEverywhere(OfficialAttention):
    """Every position of a sound to all."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.over_all = OfficialSelfAttention(channels, heads)

    def forward(self, x: Latent) -> Latent:
        """(b, c, l) or (b, c, l, m), nothing but the values changed."""
        return from_tokens(self.over_all(to_tokens(x)), x)


class AttentionInSpaceAndTime(OfficialAttention):
    """Every place of a frame to all of that frame, then every frame to all at each place.

    What is normalised is what attends: one frame at a time, then one place at a time.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.over_space = OfficialSelfAttention(channels, heads)
        self.over_time = OfficialSelfAttention(channels, heads)

    def forward(self, x: Latent) -> Latent:
        """(b, c, f, h, w), nothing but the values changed."""
        batch, _, _, height, width = x.shape
        positions = x.movedim(1, -1).flatten(2, 3)  # (b, f, h·w, c)
        by_frame = self.over_space(positions.flatten(0, 1)).unflatten(0, (batch, -1))
        by_place = by_frame.transpose(1, 2).flatten(0, 1)  # (b·h·w, f, c)
        attended = self.over_time(by_place).unflatten(0, (batch, -1)).transpose(1, 2)
        return attended.unflatten(2, (height, width)).movedim(-1, 1)


class Projections(nn.Module):
    """Norm, queries, keys and values of one modality's tokens, and the way out."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.into = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def split(self, tokens: Tokens, heads: int) -> list[Tensor]:
        """Queries, keys and values, (b, heads, tokens, c / heads) each."""
        normed = self.norm(tokens.transpose(1, 2)).transpose(1, 2)
        return [
            one.unflatten(2, (heads, -1)).transpose(1, 2)
            for one in self.into(normed).chunk(3, dim=2)
        ]


class OfficialSelfAttention(nn.Module):
    """All tokens to all of the same sequence."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.projections = Projections(channels)

    def forward(self, tokens: Tokens) -> Tokens:
        """The tokens and what each takes from all."""
        query, key, value = self.projections.split(tokens, self.heads)
        return tokens + self.projections.out(attend(query, key, value))


class CrossExchange(nn.Module, ABC):
    """What passes from one tower to the other at the end of a block."""

    @abstractmethod
    def forward(self, z: AV[Tensor]) -> AV[Tensor]:
        """Both latents, nothing but the values changed."""


class NoExchange(CrossExchange):
    """Nothing, as in all that is published."""

    def forward(self, z: AV[Tensor]) -> AV[Tensor]:
        """``z`` itself."""
        return z


class CrossAttention(CrossExchange):
    """Every position of either latent to all of the other."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.audio = Projections(channels)
        self.video = Projections(channels)

    def forward(self, z: AV[Tensor]) -> AV[Tensor]:
        """Both latents, nothing but the values changed."""
        own = AV(self.audio, self.video)
        tokens = z.map(to_tokens)
        sides = each(lambda side, given: side.split(given, self.heads), own, tokens)

        def take(own: Projections, x: Tensor, mine: list[Tensor], other: list[Tensor]) -> Tensor:
            return x + own.out(attend(mine[0], other[1], other[2]))

        return each(from_tokens, each(take, own, tokens, sides, sides.swap()), z)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tokens:
    """softmax(Q Kᵀ / √d) V: (b, heads, tokens, d) of each to (b, tokens, heads · d)."""
    weights = torch.softmax(query @ key.mT * query.shape[-1] ** -0.5, dim=-1)
    return (weights @ value).transpose(1, 2).flatten(2)


def to_tokens(x: Latent) -> Tokens:
    """(b, c, time, *space) to (b, positions, c)."""
    return x.movedim(1, -1).flatten(1, -2)


def from_tokens(tokens: Tokens, like: Latent) -> Latent:
    """(b, positions, c) to (b, c, time, *space) of the extent of ``like``."""
    return tokens.unflatten(1, like.shape[2:]).movedim(-1, 1)
