"""Blocks of the joint network, on pairs of sound (b, l, c) and video (b, f, h, w, c)."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from mmdisco.adapters.mmdiffusion.attention import (
    AudioAttention,
    CrossProjections,
    DilatedConvolution,
    FactorizedConvolution,
    GroupNorm,
    SpatialAttention,
    TemporalAttention,
    attend,
    average,
    double,
    halve,
    quadruple,
    scale_and_shift,
)
from mmdisco.adapters.mmdiffusion.config import UNetLevel
from mmdisco.adapters.mmdiffusion.shifts import WindowShifts
from mmdisco.core.av import AV
from mmdisco.io.shapes import PerSample, Vector

SOUND_POOL = 4
LARGEST_DILATION = 10


def _unchanged(x: Tensor) -> Tensor:
    return x


def _quarter(sound: Tensor) -> Tensor:
    return average(sound, SOUND_POOL)


@dataclass(frozen=True)
class Context:
    """Further inputs of every block.

    Attributes:
        t: Time of each sample.
        embedding: Embedding of the times.
        shifts: Shifts of the windows.
    """

    t: PerSample
    embedding: Vector
    shifts: WindowShifts


class ModalityBranch(nn.Module, ABC):
    """Block of both modalities."""

    @abstractmethod
    def forward(self, z: AV[Tensor], context: Context) -> AV[Tensor]:
        """Map the pair to the block's channels and sizes."""


class JointStem(ModalityBranch):
    """Stem from samples and pixels to channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.audio = DilatedConvolution(1, channels)
        self.video = FactorizedConvolution(3, channels)

    def forward(self, z: AV[Tensor], context: Context) -> AV[Tensor]:
        """Map (b, l, 1) and (b, f, h, w, 3) to channels at the same positions."""
        return AV(self.audio(z.audio), self.video(z.video))


class Branch(nn.Module):
    """Residual block of one modality.

    Args:
        wide: Convolution, with an average where the block reduces the resolution.
        channels: Channels of the input and of the output.
        pool: The same average for the skip.
        spread: Repetition where the block raises the resolution.
        attention: Layers after it.
    """

    def __init__(
        self,
        wide: nn.Module,
        channels: tuple[int, int],
        pool: Callable[[Tensor], Tensor] = _unchanged,
        spread: Callable[[Tensor], Tensor] = _unchanged,
        attention: Sequence[nn.Module] = (),
    ) -> None:
        super().__init__()
        into, out = channels
        self.norm = GroupNorm(into)
        self.wide = wide
        self.inner_norm = GroupNorm(out)
        self.last = nn.Linear(out, out)
        self.skip = nn.Identity() if into == out else nn.Linear(into, out)
        self.pool = pool
        self.spread = spread
        self.attention = nn.Sequential(*attention)

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        """Map (b, *positions, c) to (b, *other positions, c′)."""
        branch = self.wide(functional.silu(self.norm(x), inplace=True))
        branch = scale_and_shift(self.inner_norm(branch), modulation)
        branch = self.last(functional.silu(branch, inplace=True))
        # the published network repeats before its second norm; that norm and all after it treat
        # copies alike, so the repetition can come last, at a quarter of the work
        return self.attention(self.spread(branch + self.skip(self.pool(x))))


class MMDiffusionResBlock(ModalityBranch):
    """Residual block of both modalities, scaled and shifted by one embedding.

    Args:
        branches: Branch of either modality.
        channels: Channels of the output.
        embedding: Width of the embedding.
    """

    def __init__(self, branches: AV[Branch], channels: int, embedding: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(embedding, 2 * channels)
        self.audio = branches.audio
        self.video = branches.video

    @override
    def forward(self, z: AV[Tensor], context: Context) -> AV[Tensor]:
        modulation = self.modulation(context.embedding)
        return AV(self.audio(z.audio, modulation), self.video(z.video, modulation))


def level_block(
    channels: int, level: UNetLevel, embedding: int, dilation: int
) -> MMDiffusionResBlock:
    """Build a block with a level's channels and attention.

    Args:
        channels: Channels of the input.
        level: The level.
        embedding: Width of the embedding.
        dilation: Dilation of the sound's convolution.
    """
    out = level.channels
    audio = Branch(
        DilatedConvolution(channels, out, dilation),
        (channels, out),
        attention=[AudioAttention(out)] if level.audio_attention else [],
    )
    video = Branch(
        FactorizedConvolution(channels, out),
        (channels, out),
        attention=[SpatialAttention(out), TemporalAttention(out)] if level.video_attention else [],
    )
    return MMDiffusionResBlock(AV(audio, video), out, embedding)


def downsample_block(channels: int, embedding: int, dilation: int) -> MMDiffusionResBlock:
    """Build a block that quarters the sound, and halves height and width of the video."""
    sound = DilatedConvolution(channels, channels, dilation, SOUND_POOL)
    audio = Branch(sound, (channels, channels), pool=_quarter)
    picture = FactorizedConvolution(channels, channels, 2)
    video = Branch(picture, (channels, channels), pool=halve)
    return MMDiffusionResBlock(AV(audio, video), channels, embedding)


def upsample_block(channels: int, embedding: int, dilation: int) -> MMDiffusionResBlock:
    """Build a block that inverts the sizes of ``downsample_block`` by repetition."""
    sound = DilatedConvolution(channels, channels, dilation)
    audio = Branch(sound, (channels, channels), spread=quadruple)
    picture = FactorizedConvolution(channels, channels)
    video = Branch(picture, (channels, channels), spread=double)
    return MMDiffusionResBlock(AV(audio, video), channels, embedding)


class JointCrossAttention(ModalityBranch):
    """Cross-attention of either modality to windows of the other.

    Args:
        channels: Channels of both.
        head_channels: Channels per head, a divisor of the channels.
        window: Frames per window; 0 for all.
        index: Index of this cross-attention in the network, from 0.
    """

    def __init__(self, channels: int, head_channels: int, window: int, index: int) -> None:
        super().__init__()
        self.heads = channels // head_channels
        self.window = window
        self.index = index
        self.audio = CrossProjections(channels)
        self.video = CrossProjections(channels)

    @override
    def forward(self, z: AV[Tensor], context: Context) -> AV[Tensor]:
        frames = z.video.shape[1]
        window = self.window or frames
        positions = frames - window + 1
        shifts = context.shifts.draw(context.t, self.index, positions) if self.window else None
        places = z.video.flatten(1, 3)
        heard, sound = self.audio.read(z.audio)
        watched, picture = self.video.read(places)
        seen: list[AV[Tensor]] = []
        # one by one, since the windows of each sample lie elsewhere
        for index in range(len(places)):
            reach = {
                "frames": frames,
                "window": window,
                "shift": shifts[index] if shifts else 0,
                "heads": self.heads,
            }
            seen.append(
                AV(
                    attend(heard[index], picture[index], **reach),
                    attend(watched[index], sound[index], **reach),
                )
            )
        audio = torch.stack([one.audio for one in seen])
        video = torch.stack([one.video for one in seen])
        return AV(
            z.audio + self.audio.out(audio),
            z.video + self.video.out(video).reshape(z.video.shape),
        )


def dilation_of(block: int) -> int:
    """Return the sound's dilation in residual block number ``block``, from 1."""
    return 2 ** (block % LARGEST_DILATION)
