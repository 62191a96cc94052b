"""Convolutions for each kind of latent, the only difference between the towers.

Tensors are (b, c, time, *space) with the channels innermost in memory. In that memory format a
video is at once a batch of frames, a batch of tracks through time and a matrix of pixels, all
of them views, so that every convolution runs in its fastest kernel and no layout is copied.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from mmdisco.core.noise import NoiseLevel, broadcast_like
from mmdisco.discriminators.embeddings import wiener_gain
from mmdisco.errors import UserError
from mmdisco.io.bounds import check_sizes
from mmdisco.io.shapes import Latent

FLAT_CHANNELS = 24
AGREEING = 8  # values of a step that agree on one object


@dataclass(frozen=True)
class Latents(ABC):
    """One base model's latents, and the convolutions that read them.

    Attributes:
        channels: Channels of the latent.
        rate: Latent frames or steps per second.
        text_width: Width of the pooled caption; 0 without captions.
        axes: Number of axes of a latent, without the batch.
    """

    channels: int
    rate: float
    text_width: int = 0
    axes: ClassVar[int]

    def __post_init__(self) -> None:
        check_sizes(self)

    def fits(self, shape: torch.Size) -> bool:
        """Whether latents of this shape, without the batch, can be read."""
        return len(shape) == self.axes and shape[0] == self.channels

    def reader(self) -> "Stem":
        """Build the stem: the map from the latent to the input of the tower's convolutions."""
        return AsItIs(self.channels)

    @abstractmethod
    def window(self) -> tuple[int, ...]:
        """Return the pool's size between two levels, on the time axis and each after it."""

    @abstractmethod
    def wide(self, channels: int, out_channels: int, window: tuple[int, ...]) -> nn.Module:
        """Build a convolution of 3 taps on every axis, followed by the average over ``window``."""

    @abstractmethod
    def pool(self, window: tuple[int, ...]) -> nn.Module:
        """Build the average over ``window`` alone; an incomplete window at the end is dropped."""


@dataclass(frozen=True)
class VideoLatents(Latents):
    """Latents (b, c, f, h, w). Time is never pooled."""

    axes = 4

    def window(self) -> tuple[int, ...]:
        """Return a window of half the height and half the width."""
        return 1, 2, 2

    def wide(self, channels: int, out_channels: int, window: tuple[int, ...]) -> nn.Module:
        """Build a convolution over space, then over time."""
        return SpaceTimeConvolution(channels, out_channels, window)

    def pool(self, window: tuple[int, ...]) -> nn.Module:
        """Build a pool that works frame by frame."""
        return FramePool(window)


@dataclass(frozen=True)
class SpectrogramLatents(Latents):
    """Latents (b, c, l, m). Time is never pooled."""

    axes = 3

    def window(self) -> tuple[int, ...]:
        """Return a window of half the mel bins."""
        return 1, 2

    def wide(self, channels: int, out_channels: int, window: tuple[int, ...]) -> nn.Module:
        """Build a convolution over time and mel together."""
        return PooledConvolution(nn.Conv2d(channels, out_channels, 3), window)

    @override
    def pool(self, window: tuple[int, ...]) -> nn.Module:
        return nn.AvgPool2d((window[0], window[1]))


@dataclass(frozen=True)
class StepLatents(Latents):
    """Latents that a tower reads as steps, each one vector, with convolutions over time."""

    def wide(self, channels: int, out_channels: int, window: tuple[int, ...]) -> nn.Module:
        """Build a convolution over time."""
        return PooledConvolution(nn.Conv1d(channels, out_channels, 3), window)

    @override
    def pool(self, window: tuple[int, ...]) -> nn.Module:
        return nn.AvgPool1d(window[0])


@dataclass(frozen=True)
class WaveformLatents(StepLatents):
    """Latents (b, c, l).

    Attributes:
        time_pool: Steps averaged into one between levels: 1 for latents of some ten steps per
            second, 4 for audio samples.
    """

    time_pool: int = 1
    axes = 2

    def window(self) -> tuple[int, ...]:
        """Return a window of ``time_pool`` on the one axis."""
        return (self.time_pool,)


@dataclass(frozen=True)
class FlatLatents(StepLatents):
    """Small latents (b, c, time, *space) of fixed extent, each step read as one vector.

    At some hundreds of values per step, dense maps of all of them cost less than convolutions
    throughout, and position matters. Two convolutions come first: they recognise an object at
    any position.

    Attributes:
        space: The axes after time: height and width of a video, both even, or the bins of a sound.
    """

    space: tuple[int, ...] = ()

    def fits(self, shape: torch.Size) -> bool:
        """Whether ``shape`` is (c, time, *space) with this extent in space."""
        return shape[:1] == (self.channels,) and tuple(shape[2:]) == self.space

    def reader(self) -> "Stem":
        """Build two convolutions, followed by flattening each step to one vector."""
        return FlattenStem(self.channels, self.space)

    def window(self) -> tuple[int, ...]:
        """Return a window of 1: nothing is pooled."""
        return (1,)


class Stem(nn.Module, ABC):
    """Map from a latent to the input of a tower.

    Attributes:
        values: Channels of the output.
    """

    values: int

    @abstractmethod
    def forward(self, x: Tensor, level: NoiseLevel) -> Tensor:
        """Map a latent (b, c, time, *space) in VP units to (b, values, time, *rest)."""


class AsItIs(Stem):
    """Identity stem."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.values = channels

    def forward(self, x: Tensor, level: NoiseLevel) -> Tensor:
        """Return the latent itself."""
        del level
        return x


def beside_mean(x: Tensor, level: NoiseLevel) -> Tensor:
    """Concatenate a latent in VP units and its mean over all steps, each scaled by its gain.

    Args:
        x: Latent, (b, c, time, …).
        level: Its noise level, to which the mean is rescaled.

    Returns:
        (b, 2 c, time, …).
    """
    mean = x.mean(2, keepdim=True) * math.sqrt(x.shape[2])
    own_gain, mean_gain = (wiener_gain(level, AGREEING * steps) for steps in (1, x.shape[2]))
    return torch.cat(
        [broadcast_like(own_gain, x) * x, (broadcast_like(mean_gain, x) * mean).expand_as(x)], 1
    )


class FlattenStem(Stem):
    """Two 3 × 3 convolutions, the second strided, concatenated to the latent.

    The second has stride 2 in space, or in mel alone. A video is convolved frame by frame, a
    spectrogram in time and mel, where time keeps its steps. Every step also gets the mean of all
    steps, scaled to the same noise: timbre and colour stay constant through a clip, and stand out
    of the mean while every single step is still noise. All inputs are scaled by their
    ``wiener_gain``.
    """

    def __init__(self, channels: int, space: tuple[int, ...]) -> None:
        super().__init__()
        self.space = space
        stride = (2, 2) if len(space) > 1 else (1, 2)
        self.first = nn.Conv2d(2 * channels, FLAT_CHANNELS, 3, padding=1)
        self.second = nn.Conv2d(FLAT_CHANNELS, 2 * FLAT_CHANNELS, 3, stride=stride, padding=1)
        places = math.prod(space)
        self.values = 2 * places * channels + 2 * FLAT_CHANNELS * places // 2 ** len(space)

    def forward(self, x: Tensor, level: NoiseLevel) -> Tensor:
        """Map (b, c, time, *space) to (b, values, time).

        Raises:
            UserError: The extent in space differs from the configured one.
        """
        if tuple(x.shape[3:]) != self.space:
            raise UserError(
                f"latent of {tuple(x.shape[3:])} in space: this discriminator reads {self.space}"
            )
        batch, steps = x.shape[0], x.shape[2]
        x = beside_mean(x, level)
        by_step = x.transpose(1, 2)
        by_frame = len(self.space) > 1
        images = by_step.flatten(0, 1) if by_frame else x
        seen = functional.silu(self.second(functional.silu(self.first(images))))
        seen = seen.unflatten(0, (batch, steps)) if by_frame else seen.transpose(1, 2)
        return torch.cat([by_step.flatten(2), seen.flatten(2)], 2).transpose(1, 2)


class PooledConvolution(nn.Module):
    """Convolution of 3 taps on every axis, and the average over a window."""

    def __init__(self, convolution: nn.Conv1d | nn.Conv2d, window: tuple[int, ...]) -> None:
        super().__init__()
        self.convolution = convolution
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, c, time) or (b, c, time, mel); every axis is divided by its window."""
        convolve = functional.conv1d if x.ndim == 3 else functional.conv2d
        kernel = pooled_kernel(self.convolution.weight, self.window)
        return channels_last(convolve(x, kernel, self.convolution.bias, self.window, padding=1))


class SpaceTimeConvolution(nn.Module):
    """Convolution of 3 × 3 taps in space and 3 in time, and the average over a window of space.

    The average comes before the taps in time: it commutes with them and makes them cheaper.
    """

    def __init__(self, channels: int, out_channels: int, window: tuple[int, ...]) -> None:
        super().__init__()
        self.spatial = nn.Conv3d(channels, out_channels, (1, 3, 3))
        self.temporal = nn.Conv3d(out_channels, out_channels, (3, 1, 1))
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, c, time, height, width); the axes after c are divided by their windows."""
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
    """Average over a window of space, frame by frame."""

    def __init__(self, window: tuple[int, ...]) -> None:
        super().__init__()
        self.window = window[1:]

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, c, f, h, w) to (b, c, f, h′, w′)."""
        frames = functional.avg_pool2d(x.transpose(1, 2).flatten(0, 1), self.window)
        return frames.unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2)


class Pointwise(nn.Module):
    """Convolution of 1 tap: one matrix for every position."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, c, time, *space), changing c alone."""
        positions = x.movedim(1, -1)
        # a matrix, since a product of more axes would run as a batch of small ones
        y = self.linear(positions.reshape(-1, positions.shape[-1]))
        return y.reshape(*positions.shape[:-1], -1).movedim(-1, 1)


def pooled_kernel(weight: Tensor, window: tuple[int, ...]) -> Tensor:
    """Return the kernel whose strided convolution is ``weight``'s, averaged over ``window``.

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
    """Return the tensor with the channels innermost in memory, a view where they already are.

    A convolution of a single sample returns a stride of the batch axis by which the norms do
    not recognise that memory format, and they would copy; merging the axes and splitting them
    resets it.
    """
    positions = x.movedim(1, -1).contiguous()
    merged = positions.reshape(x.shape[0], -1, x.shape[1])
    return merged.reshape(positions.shape).movedim(-1, 1)
