"""Layers and attention of the joint network, on tensors whose channels come last.

Video is (b, f, h, w, c) and sound (b, l, c). In that memory format a matrix product needs no
permutation, and frames, tracks through time and positions are views of one tensor. Attention is
within a modality and between both.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmdisco.discriminators.convolutions import pooled_kernel
from mmdisco.io.shapes import PerSample, Vector

GROUPS = 32


def time_features(t: PerSample, width: int) -> Vector:
    """Return cos and sin of t at frequencies from 1 to nearly 10⁻⁴, (b, width).

    They are computed in single precision, as in training: at t = 999 it moves the phase by 10⁻⁵.

    Args:
        t: Training timesteps in [0, 1000).
        width: Number of features, even.
    """
    half = width // 2
    ramp = torch.arange(half, dtype=torch.float32, device=t.device)
    phase = t.to(torch.float32)[:, None] * torch.exp(-math.log(10_000) * ramp / half)
    return torch.cat([phase.cos(), phase.sin()], dim=1)


class MMDiffusionTimeEmbedding(nn.Module):
    """Embedding of a timestep for every residual block.

    Args:
        features: Number of sines and cosines.
        width: Width of the embedding.
    """

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.features = features
        self.first = nn.Linear(features, width)
        self.second = nn.Linear(width, width)

    def forward(self, t: PerSample) -> Vector:
        """Map (b,) to (b, width), the SiLU with which every block begins applied already."""
        features = time_features(t, self.features).to(self.first.weight.dtype)
        return functional.silu(self.second(functional.silu(self.first(features))))


class GroupNorm(nn.Module):
    """Norm over each of 32 groups of channels and all positions of a sample."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, *positions, c) to the same shape."""
        # one row of positions, an image to the kernel, which then needs no copy
        rows = x.reshape(x.shape[0], -1, 1, x.shape[-1]).permute(0, 3, 1, 2)
        normal = functional.group_norm(rows, GROUPS, self.weight, self.bias)
        return normal.permute(0, 2, 3, 1).reshape(x.shape)


def scale_and_shift(x: Tensor, modulation: Tensor) -> Tensor:
    """Return (1 + scale) x + shift.

    Args:
        x: Features (b, *positions, c).
        modulation: Scale, then shift, (b, 2 c).
    """
    scale, shift = modulation.reshape(len(x), *[1] * (x.ndim - 2), -1).chunk(2, dim=-1)
    return torch.addcmul(shift, x, 1 + scale)


def convolve(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    stride: int = 1,
    padding: tuple[int, int],
) -> Tensor:
    """Convolve images (n, h, w, c) to images of the same layout."""
    out = functional.conv2d(images.permute(0, 3, 1, 2), weight, bias, stride, padding)
    return out.permute(0, 2, 3, 1)


def halve(images: Tensor) -> Tensor:
    """Average 2 × 2 positions of (*any, h, w, c)."""
    flat = images.reshape(-1, *images.shape[-3:]).permute(0, 3, 1, 2)
    pooled = functional.avg_pool2d(flat, 2).permute(0, 2, 3, 1)
    return pooled.reshape(*images.shape[:-3], *pooled.shape[1:])


def double(images: Tensor) -> Tensor:
    """Repeat every position of (*any, h, w, c) to 2 × 2."""
    *rest, height, width, channels = images.shape
    spread = images[..., :, None, :, None, :]
    spread = spread.expand(*rest, height, 2, width, 2, channels)
    return spread.reshape(*rest, 2 * height, 2 * width, channels)


class FactorizedConvolution(nn.Module):
    """Convolution of 3 × 3 taps in space, then 3 in time.

    Args:
        channels: Channels of the input.
        out_channels: Channels of the output.
        pool: Size of the squares that are averaged: 1 or 2.
    """

    def __init__(self, channels: int, out_channels: int, pool: int = 1) -> None:
        super().__init__()
        self.pool = pool
        self.spatial = nn.Conv2d(channels, out_channels, 3)
        self.temporal = nn.Conv2d(out_channels, out_channels, (3, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, f, h, w, c) to (b, f, h / pool, w / pool, c′)."""
        # the average commutes with the taps in time, and joins those in space in one kernel
        kernel = pooled_kernel(self.spatial.weight, (self.pool, self.pool))
        frames = convolve(
            x.flatten(0, 1), kernel, self.spatial.bias, stride=self.pool, padding=(1, 1)
        )
        tracks = frames.reshape(len(x), x.shape[1], -1, frames.shape[-1])
        moved = convolve(tracks, self.temporal.weight, self.temporal.bias, padding=(1, 0))
        return moved.reshape(*x.shape[:2], *frames.shape[1:])


class DilatedConvolution(nn.Module):
    """Convolution of 3 taps in time, ``dilation`` steps apart, as three matrix products.

    On few channels and many steps that is faster than a library's dilated convolution, and needs no
    permutation of the sound.

    Args:
        channels: Channels of the input.
        out_channels: Channels of the output.
        dilation: Steps between taps, at least 1.
        pool: Number of steps that are averaged.
    """

    def __init__(self, channels: int, out_channels: int, dilation: int = 1, pool: int = 1) -> None:
        super().__init__()
        # taps that are whole windows apart commute with the average, which makes them cheaper
        self.before = pool if dilation % pool == 0 else 1
        self.after = pool // self.before
        self.dilation = dilation // self.before
        self.weight = nn.Parameter(torch.empty(out_channels, channels, 3))
        self.bias = nn.Parameter(torch.empty(out_channels))
        nn.init.normal_(self.weight, std=(3 * channels) ** -0.5)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, l, c) to (b, l / pool, c′); beyond its ends the sound is 0."""
        x = average(x, self.before)
        left, centre, right = self.weight.permute(2, 0, 1).contiguous().unbind(0)
        out = functional.linear(x, centre, self.bias)
        if self.dilation < x.shape[1]:
            for index in range(len(x)):
                out[index, self.dilation :].addmm_(x[index, : -self.dilation], left.T)
                out[index, : -self.dilation].addmm_(x[index, self.dilation :], right.T)
        return average(out, self.after)


def average(sound: Tensor, steps: int) -> Tensor:
    """Average each ``steps`` steps of (b, l, c), of which l is a multiple."""
    return sound if steps == 1 else sound.unflatten(1, (-1, steps)).mean(2)


def quadruple(sound: Tensor) -> Tensor:
    """Repeat every step of (b, l, c) 4 times."""
    return sound[:, :, None].expand(-1, -1, 4, -1).flatten(1, 2)


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
