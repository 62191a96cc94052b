"""Attention of the joint network: of one modality to itself, and of either to the other."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmdisco.adapters.mmdiffusion.layers import GroupNorm

HEADS = 4


class MMDiffusionSelfAttention(nn.Module):
    """What every token takes from all tokens of its row.

    Args:
        channels: A multiple of 32.
        heads: Divides the channels.
    """

    def __init__(self, channels: int, heads: int = HEADS) -> None:
        super().__init__()
        self.heads = heads
        self.norm = GroupNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, rows: Tensor) -> Tensor:
        """(n, tokens, c) to the same shape; the rows themselves are not added."""
        # (n, tokens, 3 · heads · d) -> three of (n, heads, tokens, d)
        parts = self.qkv(self.norm(rows)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(*parts.unbind(0))
        return self.out(seen.transpose(1, 2).flatten(2))


class OverSound(nn.Module):
    """Sound attends to all of itself."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = MMDiffusionSelfAttention(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(b, l, c)."""
        return x + self.attention(x)


class OverSpace(nn.Module):
    """The places of a frame attend to one another."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = MMDiffusionSelfAttention(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(b, f, h, w, c)."""
        return x + self.attention(x.flatten(0, 1).flatten(1, 2)).reshape(x.shape)


class OverTime(nn.Module):
    """The frames attend to one another, at every place."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = MMDiffusionSelfAttention(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(b, f, h, w, c)."""
        batch, _, height, width, _ = x.shape
        # one copy, without which every layer to come would make its own
        tracks = x.permute(0, 2, 3, 1, 4).flatten(0, 2).contiguous()
        seen = self.attention(tracks).unflatten(0, (batch, height, width))
        return x + seen.permute(0, 3, 1, 2, 4)


class Side(nn.Module):
    """One modality's layers of cross-attention.

    Args:
        channels: A multiple of 32.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = GroupNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)

    def read(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Queries (b, tokens, c), and keys beside values (b, tokens, 2 c), of (b, tokens, c)."""
        channels = tokens.shape[-1]
        query, key_value = self.qkv(self.norm(tokens)).split((channels, 2 * channels), dim=-1)
        return query, key_value


def look(
    query: Tensor, key_value: Tensor, *, frames: int, window: int, shift: int, heads: int
) -> Tensor:
    """What the tokens of one modality take from windows of the other, for one sample.

    Either modality is cut into as many chunks as there are frames; what is left over belongs to the
    last chunk of the queries, and lies behind the last chunk of the keys. The tokens of chunk i see
    ``window`` chunks from chunk i + shift on, in a circle.

    Args:
        query: (tokens, c).
        key_value: (other tokens, 2 c).
        frames: Number of chunks.
        window: Chunks that are seen.
        shift: Chunks between the query's own and the first that is seen.
        heads: Divides c.

    Returns:
        (tokens, c).
    """
    size = len(query) // frames
    if window == frames and len(key_value) % frames == 0:
        # all see all, in whatever order
        return _attend(query[None], key_value[None], heads)[0]
    seen = _windows(key_value, frames, window, shift)
    chunks = query[: frames * size].unflatten(0, (frames, size))
    taken = _attend(chunks, seen, heads).flatten(0, 1)
    left_over = query[frames * size :]
    if not len(left_over):
        return taken
    return torch.cat([taken, _attend(left_over[None], seen[-1:], heads)[0]])


def _windows(tokens: Tensor, frames: int, window: int, shift: int) -> Tensor:
    """What each frame sees of ``tokens`` (l, c), as a view (frames, window · l / frames, c)."""
    size = len(tokens) // frames
    missing = (shift + frames - 1 + window) * size - len(tokens)
    if missing > 0:
        tokens = torch.cat([tokens, tokens[:missing]])
    return tokens[shift * size :].unfold(0, window * size, size)[:frames].transpose(1, 2)


def _attend(query: Tensor, key_value: Tensor, heads: int) -> Tensor:
    """(n, tokens, c) and (n, others, 2 c) to (n, tokens, c)."""
    queries = query.unflatten(2, (heads, -1)).transpose(1, 2)
    # (n, others, 2 · heads · d) -> two of (n, heads, others, d)
    keys, values = key_value.unflatten(2, (2, heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
    seen = functional.scaled_dot_product_attention(queries, keys, values)
    return seen.transpose(1, 2).flatten(2)
