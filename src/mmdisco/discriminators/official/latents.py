"""The latents that the released towers read, and the convolutions of each kind.

As in ``mmdisco.discriminators.convolutions``, tensors are (b, c, time, *space) with the channels
innermost in memory, and a pool is folded into the convolution before it where that is the same sum.
What is added is dilation, which the release has in the audio towers alone.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

from torch import Tensor, nn
from torch.nn import functional

from mmdisco.discriminators.convolutions import (
    FramePool,
    SpaceTimeConvolution,
    SpectrogramConvolution,
    WaveformConvolution,
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
        channels: Of the latent.
        text_width: Of the pooled caption; 0 without captions.
        attention: The levels of the tower, counted from 0, whose blocks end in attention. Empty in
            all that is published.
    """

    channels: int
    text_width: int = 0
    attention: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_sizes(self)

    @property
    @abstractmethod
    def window(self) -> tuple[int, ...]:
        """The pool between two levels: its size on the time axis and each after it."""

    @abstractmethod
    def wide(
        self, channels: int, out_channels: int, window: tuple[int, ...], dilation: int
    ) -> nn.Module:
        """A convolution of 3 taps on every axis, then the average over ``window``.

        Args:
            channels: Of the input.
            out_channels: Of the output.
            window: Of the average; all 1 for none.
            dilation: Distance of the taps, in steps and bins of a sound.
        """

    @abstractmethod
    def pool(self, window: tuple[int, ...]) -> nn.Module:
        """The average over ``window`` alone; what is left over at the end is dropped."""

    @abstractmethod
    def attend(self, channels: int, heads: int) -> OfficialAttention:
        """The attention at the end of a block."""


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
        """In space, then in time, with neighbouring taps whatever the ``dilation``."""
        return SpaceTimeConvolution(channels, out_channels, window)

    def pool(self, window: tuple[int, ...]) -> nn.Module:
        """Frame by frame."""
        return FramePool(window)

    def attend(self, channels: int, heads: int) -> OfficialAttention:
        """Within each frame, then along time at each place."""
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
        """In time and mel together."""
        if dilation == 1:
            return SpectrogramConvolution(channels, out_channels, window)
        return DilatedSpectrogramConvolution(channels, out_channels, window, dilation)

    def pool(self, window: tuple[int, ...]) -> nn.Module:
        """Of time and mel."""
        return nn.AvgPool2d((window[0], window[1]))

    def attend(self, channels: int, heads: int) -> OfficialAttention:
        """Of every bin of every step to all."""
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
        """In time."""
        if dilation == 1:
            return WaveformConvolution(channels, out_channels, window)
        return DilatedWaveformConvolution(channels, out_channels, window, dilation)

    def pool(self, window: tuple[int, ...]) -> nn.Module:
        """Of time."""
        return nn.AvgPool1d(window[0])

    def attend(self, channels: int, heads: int) -> OfficialAttention:
        """Of every step to all."""
        return AttentionEverywhere(channels, heads)


class DilatedSpectrogramConvolution(nn.Module):
    """3 × 3 taps at a distance in time and mel, then the average over a window."""

    def __init__(
        self, channels: int, out_channels: int, window: tuple[int, ...], dilation: int
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, out_channels, 3)
        self.window = window
        self.dilation = dilation

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, l, m), every axis after c divided by its window."""
        weight, bias, reach = self.convolution.weight, self.convolution.bias, self.dilation
        y = functional.conv2d(x, channels_last(weight), bias, padding=reach, dilation=reach)
        return channels_last(functional.avg_pool2d(y, self.window))


class DilatedWaveformConvolution(nn.Module):
    """3 taps at a distance in time, then the average over a window.

    Where the distance is a multiple of the window, all that one average takes in meets the same
    tap of the same other average, so the average goes first and leaves the taps less to do:

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
        """(b, c, l), the steps divided by the window."""
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
