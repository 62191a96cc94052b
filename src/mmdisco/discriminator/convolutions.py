"""The convolutions of one kind of latent: all that differs between the towers.

Tensors are (b, c, time, *space) with the channels innermost in memory. In that memory a video is at
once a batch of frames, a batch of tracks through time and a matrix of pixels, all of them views, so
that every convolution runs in the kernel that suits it and no layout is copied.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmdisco.discriminator.sizes import check_sizes
from mmdisco.shapes import Latent


@dataclass(frozen=True)
class Latents(ABC):
    """One base model's latents, and the convolutions that read them.

    Attributes:
        channels: Of the latent.
        rate: Latent frames or steps per second.
        text_width: Of the pooled caption; 0 without captions.
    """

    channels: int
    rate: float
    text_width: int = 0

    def __post_init__(self) -> None:
        check_sizes(self)

    @abstractmethod
    def window(self) -> tuple[int, ...]:
        """The pool between two levels of a tower: its size on the time axis and each after it."""

    @abstractmethod
    def wide(self, channels: int, out_channels: int, window: tuple[int, ...]) -> nn.Module:
        """A convolution of 3 taps on every axis, then the average over ``window``."""

    @abstractmethod
    def pool(self, window: tuple[int, ...]) -> nn.Module:
        """The average over ``window`` alone; what is left over at the end is dropped."""


@dataclass(frozen=True)
class VideoLatents(Latents):
    """Latents (b, c, f, h, w). Time is never pooled."""

    def window(self) -> tuple[int, ...]:
        """Half the height and half the width."""
        return 1, 2, 2

    def wide(self, channels: int, out_channels: int, window: tuple[int, ...]) -> nn.Module:
        """In space, then in time."""
        return SpaceTimeConvolution(channels, out_channels, window)

    def pool(self, window: tuple[int, ...]) -> nn.Module:
        """Frame by frame."""
        return FramePool(window)


@dataclass(frozen=True)
class SpectrogramLatents(Latents):
    """Latents (b, c, l, m). Time is never pooled."""

    def window(self) -> tuple[int, ...]:
        """Half the mel bins."""
        return 1, 2

    def wide(self, channels: int, out_channels: int, window: tuple[int, ...]) -> nn.Module:
        """In time and mel together."""
        return SpectrogramConvolution(channels, out_channels, window)

    def pool(self, window: tuple[int, ...]) -> nn.Module:
        """Of time and mel."""
        return nn.AvgPool2d((window[0], window[1]))


@dataclass(frozen=True)
class WaveformLatents(Latents):
    """Latents (b, c, l).

    Attributes:
        time_pool: Steps averaged into one between levels: 1 for latents of some ten steps a second,
            4 for samples of sound.
    """

    time_pool: int = 1

    def window(self) -> tuple[int, ...]:
        """The one axis there is."""
        return (self.time_pool,)

    def wide(self, channels: int, out_channels: int, window: tuple[int, ...]) -> nn.Module:
        """In time."""
        return WaveformConvolution(channels, out_channels, window)

    def pool(self, window: tuple[int, ...]) -> nn.Module:
        """Of time."""
        return nn.AvgPool1d(window[0])


class WaveformConvolution(nn.Module):
    """3 taps in time, and the average over a window of it."""

    def __init__(self, channels: int, out_channels: int, window: tuple[int, ...]) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(channels, out_channels, 3)
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, time, *space), every axis after c divided by its window."""
        kernel = pooled_kernel(self.convolution.weight, self.window)
        return channels_last(
            functional.conv1d(x, kernel, self.convolution.bias, self.window, padding=1)
        )


class SpectrogramConvolution(nn.Module):
    """3 × 3 taps in time and mel, and the average over a window."""

    def __init__(self, channels: int, out_channels: int, window: tuple[int, ...]) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, out_channels, 3)
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, time, *space), every axis after c divided by its window."""
        kernel = pooled_kernel(self.convolution.weight, self.window)
        return channels_last(
            functional.conv2d(x, kernel, self.convolution.bias, self.window, padding=1)
        )


class SpaceTimeConvolution(nn.Module):
    """3 × 3 taps in space, 3 taps in time, and the average over a window of space.

    The average comes before the taps in time: it commutes with them, and leaves them less to do.
    """

    def __init__(self, channels: int, out_channels: int, window: tuple[int, ...]) -> None:
        super().__init__()
        self.spatial = nn.Conv3d(channels, out_channels, (1, 3, 3))
        self.temporal = nn.Conv3d(out_channels, out_channels, (3, 1, 1))
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, time, *space), every axis after c divided by its window."""
        kernel = pooled_kernel(self.spatial.weight, self.window)
        x = channels_last(functional.conv3d(x, kernel, self.spatial.bias, self.window, (0, 1, 1)))
        # all pixels of a frame in one row: the same sum, in a kernel twice as fast as the 3-D one
        tracks = functional.conv2d(
            x.flatten(3),
            channels_last(self.temporal.weight.squeeze(4)),
            self.temporal.bias,
            padding=(1, 0),
        )
        return channels_last(tracks.unflatten(3, x.shape[3:]))


class FramePool(nn.Module):
    """The average over a window of space, frame by frame."""

    def __init__(self, window: tuple[int, ...]) -> None:
        super().__init__()
        self.window = window[1:]

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, f, h, w) to (b, c, f, h′, w′)."""
        frames = functional.avg_pool2d(x.transpose(1, 2).flatten(0, 1), self.window)
        return frames.unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2)


class Pointwise(nn.Module):
    """A convolution of 1 tap: one matrix for every position."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, time, *space), nothing but c changed."""
        positions = x.movedim(1, -1)
        # a matrix, since a product of more axes would run as a batch of small ones
        y = self.linear(positions.reshape(-1, positions.shape[-1]))
        return y.reshape(*positions.shape[:-1], -1).movedim(-1, 1)


def pooled_kernel(weight: Tensor, window: tuple[int, ...]) -> Tensor:
    """The kernel whose strided convolution is the average over ``window`` of that of ``weight``.

    (1/p) Σ_r Σ_k w[k] x[p i + r + k] = Σ_j W[j] x[p i + j] with W[j] = (1/p) Σ_r w[j − r], so 3
    taps and a pool of 2 cost 4 taps at half the positions.
    """
    for axis, size in enumerate(window, start=2):
        if size > 1:
            edge = weight.new_zeros([*weight.shape[:axis], size - 1, *weight.shape[axis + 1 :]])
            padded = torch.cat([edge, weight, edge], axis)
            weight = padded.unfold(axis, size, 1).mean(-1)
    return channels_last(weight)


def channels_last(x: Latent) -> Latent:
    """The same tensor with the channels innermost in memory, a view where they already are.

    A convolution of a single sample returns a stride of the batch axis by which the norms do not
    recognise that memory, and they would copy; merging the axes and parting them again resets it.
    """
    positions = x.movedim(1, -1).contiguous()
    merged = positions.reshape(x.shape[0], -1, x.shape[1])
    return merged.reshape(positions.shape).movedim(-1, 1)
