"""VideoCrafter2's autoencoder: single pictures to latents and back, as in Stable Diffusion.

Rombach et al. 2022, arXiv:2112.10752. Knows no time: frames are a batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmdisco.adapters.videocrafter2.layers import GROUPS, Upsample
from mmdisco.io.bounds import check_sizes


@dataclass(frozen=True)
class AutoencoderShape:
    """Sizes of an ``Autoencoder``; the defaults are those of the published weights.

    Attributes:
        latent: Channels of the latent.
        channels: Of the first convolution, a multiple of 32.
        multipliers: Of the channels, level by level; every level but the first halves the picture.
        blocks: A level on the way down; one more on the way up.
    """

    latent: int = 4
    channels: int = 128
    multipliers: tuple[int, ...] = (1, 2, 4, 4)
    blocks: int = 2

    def __post_init__(self) -> None:
        check_sizes(self)

    @property
    def factor(self) -> int:
        """By which height and width shrink."""
        return 2 ** (len(self.multipliers) - 1)

    @property
    def widths(self) -> list[int]:
        """Channels of each level."""
        return [multiplier * self.channels for multiplier in self.multipliers]


class Autoencoder(nn.Module):
    """The network; see ``AutoencoderShape`` for its sizes. Latents are in its own units."""

    def __init__(self, shape: AutoencoderShape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = VAEEncoder(shape)
        self.moments = nn.Conv2d(2 * shape.latent, 2 * shape.latent, 1)
        self.unpack = nn.Conv2d(shape.latent, shape.latent, 1)
        self.decoder = Decoder(shape)

    def encode(self, pictures: Tensor) -> Tensor:
        """Mean and log-variance (b, 2 · latent, h, w) of pictures (b, 3, H, W) in [−1, 1]."""
        return self.moments(self.encoder(pictures))

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures (b, 3, H, W), in [−1, 1] but for overshoot, of latents (b, latent, h, w)."""
        return self.decoder(self.unpack(latents))


class VAEEncoder(nn.Module):
    """Pictures to what the moments are read from."""

    def __init__(self, shape: AutoencoderShape) -> None:
        super().__init__()
        widths = shape.widths
        self.first = nn.Conv2d(3, shape.channels, 3, padding=1)
        self.down = nn.ModuleList(_down(shape.channels, widths, shape.blocks))
        self.middle = _middle(widths[-1])
        self.last = _last(widths[-1], 2 * shape.latent)

    def forward(self, x: Tensor) -> Tensor:
        """(b, 3, H, W) to (b, 2 · latent, h, w)."""
        x = self.first(x)
        for level in self.down:
            x = level(x)
        return self.last(self.middle(x))


class Decoder(nn.Module):
    """Unpacked latents to pictures."""

    def __init__(self, shape: AutoencoderShape) -> None:
        super().__init__()
        widths = shape.widths[::-1]
        self.first = nn.Conv2d(shape.latent, widths[0], 3, padding=1)
        self.middle = _middle(widths[0])
        self.up = nn.ModuleList(_up(widths, shape.blocks + 1))
        self.last = _last(widths[-1], 3)

    def forward(self, x: Tensor) -> Tensor:
        """(b, latent, h, w) to (b, 3, H, W)."""
        x = self.middle(self.first(x))
        for level in self.up:
            x = level(x)
        return self.last(x)


class VAELevel(nn.Module):
    """Residual blocks of one width, then a change of size."""

    def __init__(self, width_in: int, width: int, blocks: int, resample: nn.Module | None) -> None:
        super().__init__()
        widths = [width_in, *[width] * (blocks - 1)]
        self.blocks = nn.Sequential(*(Residual(one, width) for one in widths))
        self.resample = resample

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, h, w) to (b, width, h′, w′)."""
        x = self.blocks(x)
        return x if self.resample is None else self.resample(x)


class Residual(nn.Module):
    """Two convolutions around which the input is carried."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.norm1 = _norm(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm2 = _norm(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        same = channels_in == channels_out
        self.skip = nn.Identity() if same else nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, h, w) to (b, c′, h, w)."""
        h = self.conv1(functional.silu(self.norm1(x)))
        return self.skip(x) + self.conv2(functional.silu(self.norm2(h)))


class VAEDownsample(nn.Module):
    """Half the height and width; the picture is padded below and on the right alone."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, h, w) to (b, c, h/2, w/2)."""
        return self.conv(functional.pad(x, (0, 1, 0, 1)))


class PixelAttention(nn.Module):
    """Every pixel looks at all the others, with one head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.query = nn.Conv2d(channels, channels, 1)
        self.key = nn.Conv2d(channels, channels, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, h, w), unchanged in shape."""
        normed = self.norm(x)
        q, k, v = (
            part(normed).flatten(2).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        seen = functional.scaled_dot_product_attention(q, k, v)
        return x + self.out(seen.transpose(1, 2).reshape(x.shape))


def sample_mean(moments: Tensor) -> Tensor:
    """The mean of the latents' distribution: the same picture has one latent."""
    return torch.chunk(moments, 2, dim=1)[0]


def _down(first: int, widths: Sequence[int], blocks: int) -> Iterator[VAELevel]:
    for index, width in enumerate(widths):
        resample = VAEDownsample(width) if index + 1 < len(widths) else None
        yield VAELevel(widths[index - 1] if index else first, width, blocks, resample)


def _up(widths: Sequence[int], blocks: int) -> Iterator[VAELevel]:
    for index, width in enumerate(widths):
        resample = Upsample(width) if index + 1 < len(widths) else None
        yield VAELevel(widths[max(index - 1, 0)], width, blocks, resample)


def _middle(width: int) -> nn.Sequential:
    return nn.Sequential(Residual(width, width), PixelAttention(width), Residual(width, width))


def _last(width: int, channels: int) -> nn.Sequential:
    return nn.Sequential(_norm(width), nn.SiLU(), nn.Conv2d(width, channels, 3, padding=1))


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, channels, eps=1e-6)
