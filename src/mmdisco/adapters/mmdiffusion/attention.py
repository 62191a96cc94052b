"""Attention of the joint network, within a modality and between both."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmdisco.adapters.mmdiffusion.layers import GroupNorm

HEADS = 4


class MMDiffusionSelfAttention(nn.Module):
    """Self-attention within each row of tokens.

    Args:
        channels: Channels, a multiple of 32.
        heads: Number of heads, a divisor of the channels.
    """

    def __init__(self, channels: int, heads: int = HEADS) -> None:
        super().__init__()
        self.heads = heads
        self.norm = GroupNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, rows: Tensor) -> Tensor:
        """Map (n, tokens, c) to the same shape, without the skip."""
        # (n, tokens, 3 · heads · d) -> three of (n, heads, tokens, d)
        parts = self.qkv(self.norm(rows)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(*parts.unbind(0))
        return self.out(seen.transpose(1, 2).flatten(2))


class AudioAttention(nn.Module):
    """Self-attention of a sound over all its steps."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = MMDiffusionSelfAttention(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, l, c) to the same shape."""
        return x + self.attention(x)


class SpatialAttention(nn.Module):
    """Self-attention over the positions of each frame."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = MMDiffusionSelfAttention(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, f, h, w, c) to the same shape."""
        return x + self.attention(x.flatten(0, 1).flatten(1, 2)).reshape(x.shape)


class TemporalAttention(nn.Module):
    """Self-attention over the frames at each position."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = MMDiffusionSelfAttention(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, f, h, w, c) to the same shape."""
        batch, _, height, width, _ = x.shape
        # one copy, without which every layer to come would make its own
        tracks = x.permute(0, 2, 3, 1, 4).flatten(0, 2).contiguous()
        seen = self.attention(tracks).unflatten(0, (batch, height, width))
        return x + seen.permute(0, 3, 1, 2, 4)


class CrossProjections(nn.Module):
    """Projections of one modality for cross-attention.

    Args:
        channels: Channels, a multiple of 32.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = GroupNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)

    def read(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Map (b, tokens, c) to queries of that shape, and keys beside values (b, tokens, 2 c)."""
        channels = tokens.shape[-1]
        query, key_value = self.qkv(self.norm(tokens)).split((channels, 2 * channels), dim=-1)
        return query, key_value


def attend(
    query: Tensor, key_value: Tensor, *, frames: int, window: int, shift: int, heads: int
) -> Tensor:
    """Attend from the tokens of one modality to windows of the other, for one sample.

    Either modality is cut into as many chunks as there are frames; the remainder belongs to the
    last chunk of the queries, and lies behind the last chunk of the keys. The tokens of chunk i
    attend to ``window`` chunks from chunk i + shift on, in a circle.

    Args:
        query: Queries (tokens, c).
        key_value: Keys beside values (other tokens, 2 c).
        frames: Number of chunks.
        window: Chunks per window.
        shift: Chunks between the query's own and the first of the window.
        heads: Number of heads, a divisor of c.

    Returns:
        (tokens, c).
    """
    size = len(query) // frames
    if window == frames and len(key_value) % frames == 0:
        # every token attends to all, in any order
        return _attend(query[None], key_value[None], heads)[0]
    seen = _windows(key_value, frames, window, shift)
    chunks = query[: frames * size].unflatten(0, (frames, size))
    taken = _attend(chunks, seen, heads).flatten(0, 1)
    left_over = query[frames * size :]
    if not len(left_over):
        return taken
    return torch.cat([taken, _attend(left_over[None], seen[-1:], heads)[0]])


def _windows(tokens: Tensor, frames: int, window: int, shift: int) -> Tensor:
    """Return each frame's window of ``tokens`` (l, c): a view (frames, window · l / frames, c)."""
    size = len(tokens) // frames
    missing = (shift + frames - 1 + window) * size - len(tokens)
    if missing > 0:
        tokens = torch.cat([tokens, tokens[:missing]])
    return tokens[shift * size :].unfold(0, window * size, size)[:frames].transpose(1, 2)


def _attend(query: Tensor, key_value: Tensor, heads: int) -> Tensor:
    """Map (n, tokens, c) and (n, others, 2 c) to (n, tokens, c)."""
    queries = query.unflatten(2, (heads, -1)).transpose(1, 2)
    # (n, others, 2 · heads · d) -> two of (n, heads, others, d)
    keys, values = key_value.unflatten(2, (2, heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
    seen = functional.scaled_dot_product_attention(queries, keys, values)
    return seen.transpose(1, 2).flatten(2)
