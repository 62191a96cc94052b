"""The latents of the released towers, and the convolutions of each kind.

As in ``mmdisco.discriminators.convolutions``, tensors are (b, c, time, *space) with the
channels innermost in memory, and a pool is folded into the convolution before it where that is
the same sum. New here is dilation, which the release has in the audio towers alone.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from mmdisco.discriminators.convolutions import (
    FramePool,
    PooledConvolution,
    SpaceTimeConvolution,
    channels_last,
)
from mmdisco.discriminators.official.attention import (
    AttentionEverywhere,
    AttentionInSpaceAndTime,
    OfficialAttention,
)
from mmdisco.io.bounds import check_sizes

WAVEFORM_POOL: Final = 4


@dataclass(frozen=True)
class LatentKind(ABC):
    """One modality's latents.

    Attributes:
        channels: Channels of the latent.
        text_width: Width of the pooled caption; 0 without captions.
        attention: The levels of the tower, counted from 0, whose blocks end in attention. Empty in
            all published discriminators.
    """

    channels: int
    text_width: int = 0
    attention: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_sizes(self)

    @property
    @abstractmethod
    def window(self) -> tuple[int, ...]:
        """Size of the pool between two levels, on the time axis and each after it."""

    @abstractmethod
    def wide(
        self, channels: int, out_channels: int, window: tuple[int, ...], dilation: int
    ) -> nn.Module:
        """Build a convolution of 3 taps on every axis, followed by the average over ``window``.

        Args:
            channels: Channels of the input.
            out_channels: Channels of the output.
            window: Window of the average; all 1 for none.
            dilation: Distance of the taps, in steps and bins of a sound.
        """

    @abstractmethod
    def pool(self, window: tuple[int, ...]) -> nn.Module:
        """Build the average over ``window`` alone; an incomplete window at the end is dropped."""

    @abstractmethod
    def attend(self, channels: int, heads: int) -> OfficialAttention:
        """Build the attention at the end of a block."""


@dataclass(frozen=True)
class OfficialVideo(LatentKind):
    """Latents or pixels (b, c, f, h, w). Time is never pooled, and nothing is dilated."""

    @property
    def window(self) -> tuple[int, ...]:
        """Half the height and half the width."""
        return 1, 2, 2

    def wide(
        self, channels: int, out_channels: int, window: tuple[int, ...], dilation: int
    ) -> nn.Module:
        """Build a convolution over space, then time; ``dilation`` is ignored."""
        return SpaceTimeConvolution(channels, out_channels, window)

    @override
    def pool(self, window: tuple[int, ...]) -> nn.Module:
        return FramePool(window)

    def attend(self, channels: int, heads: int) -> OfficialAttention:
        """Build attention within each frame, then over time at each position."""
        return AttentionInSpaceAndTime(channels, heads)


@dataclass(frozen=True)
class Spectrogram(LatentKind):
    """Latents (b, c, l, m). Time is never pooled."""

    @property
    def window(self) -> tuple[int, ...]:
        """Half the mel bins."""
        return 1, 2

    def wide(
        self, channels: int, out_channels: int, window: tuple[int, ...], dilation: int
    ) -> nn.Module:
        """Build a convolution over time and mel together."""
        if dilation == 1:
            return PooledConvolution(nn.Conv2d(channels, out_channels, 3), window)
        return DilatedSpectrogramConvolution(channels, out_channels, window, dilation)

    @override
    def pool(self, window: tuple[int, ...]) -> nn.Module:
        return nn.AvgPool2d((window[0], window[1]))

    @override
    def attend(self, channels: int, heads: int) -> OfficialAttention:
        return AttentionEverywhere(channels, heads)


@dataclass(frozen=True)
class Waveform(LatentKind):
    """Samples (b, c, l)."""

    @property
    def window(self) -> tuple[int, ...]:
        """A quarter of the steps."""
        return (WAVEFORM_POOL,)

    def wide(
        self, channels: int, out_channels: int, window: tuple[int, ...], dilation: int
    ) -> nn.Module:
        """Build a convolution over time."""
        if dilation == 1:
            return PooledConvolution(nn.Conv1d(channels, out_channels, 3), window)
        return DilatedWaveformConvolution(channels, out_channels, window, dilation)

    @override
    def pool(self, window: tuple[int, ...]) -> nn.Module:
        return nn.AvgPool1d(window[0])

    @override
    def attend(self, channels: int, heads: int) -> OfficialAttention:
        return AttentionEverywhere(channels, heads)


class DilatedSpectrogramConvolution(nn.Module):
    """Dilated convolution of 3 × 3 taps in time and mel, then the average over a window."""

    def __init__(
        self, channels: int, out_channels: int, window: tuple[int, ...], dilation: int
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, out_channels, 3)
        self.window = window
        self.dilation = dilation

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, c, l, m); every axis after c is divided by its window."""
        weight, bias, reach = self.convolution.weight, self.convolution.bias, self.dilation
        y = functional.conv2d(x, channels_last(weight), bias, padding=reach, dilation=reach)
        return channels_last(functional.avg_pool2d(y, self.window))


class DilatedWaveformConvolution(nn.Module):
    """Dilated convolution of 3 taps in time, then the average over a window.

    Where the dilation is a multiple of the window, all samples of one average meet the same tap
    of the same other average, so the average goes first and makes the taps cheaper:

        (1/p) Σ_r Σ_k w[k] x[p i + r + k d] = Σ_k w[k] x̄[i + k d/p]   with x̄ the averages of x
    """

    def __init__(
        self, channels: int, out_channels: int, window: tuple[int, ...], dilation: int
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(channels, out_channels, 3)
        self.window = window[0]
        self.dilation = dilation
        self.pool = nn.Identity() if self.window == 1 else nn.AvgPool1d(self.window)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, c, l); the steps are divided by the window."""
        window, steps = self.window, x.shape[2] // self.window
        if window == 1 or self.dilation % window != 0:
            return channels_last(self.pool(self._convolve(x, self.dilation)))
        # zeros, as beyond the end of every convolution: a last, incomplete average counts
        whole = functional.pad(x, (0, -x.shape[2] % window))
        averages = channels_last(self.pool(whole))
        return channels_last(self._convolve(averages, self.dilation // window)[..., :steps])

    def _convolve(self, x: Tensor, dilation: int) -> Tensor:
        weight, bias = self.convolution.weight, self.convolution.bias
        return functional.conv1d(
            x, channels_last(weight), bias, padding=dilation, dilation=dilation
        )
