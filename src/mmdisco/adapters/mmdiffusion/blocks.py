"""Blocks of the joint network: a pair of sound (b, l, c) and video (b, f, h, w, c) in and out."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmdisco.adapters.mmdiffusion.attention import OverSound, OverSpace, OverTime, Side, look
from mmdisco.adapters.mmdiffusion.config import UNetLevel
from mmdisco.adapters.mmdiffusion.layers import (
    DilatedConvolution,
    FactorizedConvolution,
    GroupNorm,
    average,
    double,
    halve,
    quadruple,
    scale_and_shift,
)
from mmdisco.adapters.mmdiffusion.shifts import WindowShifts
from mmdisco.core.av import AV
from mmdisco.shapes import PerSample, Vector

SOUND_POOL = 4
LARGEST_DILATION = 10


def _unchanged(x: Tensor) -> Tensor:
    return x


def _quarter(sound: Tensor) -> Tensor:
    return average(sound, SOUND_POOL)


@dataclass(frozen=True)
class Context:
    """What every block reads beside the pair.

    Attributes:
        t: The time of each sample.
        embedding: Of the times.
        shifts: Of the windows.
    """

    t: PerSample
    embedding: Vector
    shifts: WindowShifts


class ModalityBranch(nn.Module, ABC):
    """One step of the network."""

    @abstractmethod
    def forward(self, z: AV[Tensor], context: Context) -> AV[Tensor]:
        """The pair after this step."""


class Entry(ModalityBranch):
    """From samples and pixels to channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.audio = DilatedConvolution(1, channels)
        self.video = FactorizedConvolution(3, channels)

    def forward(self, z: AV[Tensor], context: Context) -> AV[Tensor]:
        """(b, l, 1) and (b, f, h, w, 3) to the same positions with channels."""
        return AV(self.audio(z.audio), self.video(z.video))


class Branch(nn.Module):
    """The residual block of one modality.

    Args:
        wide: Its convolution, with an average where the block makes the input smaller.
        channels: Of the input and of the output.
        pool: The same average for the skip.
        spread: Repetition, where the block makes the input larger.
        attention: What follows.
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
        """(b, *positions, c) to (b, *other positions, c′)."""
        branch = self.wide(functional.silu(self.norm(x), inplace=True))
        branch = scale_and_shift(self.inner_norm(branch), modulation)
        branch = self.last(functional.silu(branch, inplace=True))
        # the published network repeats before its second norm; that norm and all after it treat
        # copies alike, so the repetition can come last, at a quarter of the work
        return self.attention(self.spread(branch + self.skip(self.pool(x))))


class MMDiffusionResBlock(ModalityBranch):
    """A residual block of both modalities, scaled and shifted by one embedding.

    Args:
        branches: Of either modality.
        channels: Of the output.
        embedding: Width of the embedding.
    """

    def __init__(self, branches: AV[Branch], channels: int, embedding: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(embedding, 2 * channels)
        self.audio = branches.audio
        self.video = branches.video

    def forward(self, z: AV[Tensor], context: Context) -> AV[Tensor]:
        """The pair with the block's channels and sizes."""
        modulation = self.modulation(context.embedding)
        return AV(self.audio(z.audio, modulation), self.video(z.video, modulation))


def keeping(channels: int, level: UNetLevel, embedding: int, dilation: int) -> MMDiffusionResBlock:
    """A block of a level, with the level's channels and attention.

    Args:
        channels: Of the input.
        level: Where it stands.
        embedding: Width of the embedding.
        dilation: Of the sound's convolution.
    """
    out = level.channels
    audio = Branch(
        DilatedConvolution(channels, out, dilation),
        (channels, out),
        attention=[OverSound(out)] if level.audio_attention else [],
    )
    video = Branch(
        FactorizedConvolution(channels, out),
        (channels, out),
        attention=[OverSpace(out), OverTime(out)] if level.video_attention else [],
    )
    return MMDiffusionResBlock(AV(audio, video), out, embedding)


def shrinking(channels: int, embedding: int, dilation: int) -> MMDiffusionResBlock:
    """A block that quarters the sound, and halves height and width of the video."""
    sound = DilatedConvolution(channels, channels, dilation, SOUND_POOL)
    audio = Branch(sound, (channels, channels), pool=_quarter)
    picture = FactorizedConvolution(channels, channels, 2)
    video = Branch(picture, (channels, channels), pool=halve)
    return MMDiffusionResBlock(AV(audio, video), channels, embedding)


def growing(channels: int, embedding: int, dilation: int) -> MMDiffusionResBlock:
    """A block that undoes ``shrinking`` by repetition."""
    sound = DilatedConvolution(channels, channels, dilation)
    audio = Branch(sound, (channels, channels), spread=quadruple)
    picture = FactorizedConvolution(channels, channels)
    video = Branch(picture, (channels, channels), spread=double)
    return MMDiffusionResBlock(AV(audio, video), channels, embedding)


class Cross(ModalityBranch):
    """Either modality attends to windows of the other.

    Args:
        channels: Of both.
        head_channels: Divides the channels.
        window: Frames that are seen; 0 for all.
        index: Which cross-attention of the network this is, from 0.
    """

    def __init__(self, channels: int, head_channels: int, window: int, index: int) -> None:
        super().__init__()
        self.heads = channels // head_channels
        self.window = window
        self.index = index
        self.audio = Side(channels)
        self.video = Side(channels)

    def forward(self, z: AV[Tensor], context: Context) -> AV[Tensor]:
        """The pair, with what each has seen of the other added."""
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
                    look(heard[index], picture[index], **reach),
                    look(watched[index], sound[index], **reach),
                )
            )
        audio = torch.stack([one.audio for one in seen])
        video = torch.stack([one.video for one in seen])
        return AV(
            z.audio + self.audio.out(audio),
            z.video + self.video.out(video).reshape(z.video.shape),
        )


def dilation_of(block: int) -> int:
    """Steps between the taps of the sound in a network's ``block``th residual block, from 1."""
    return 2 ** (block % LARGEST_DILATION)
