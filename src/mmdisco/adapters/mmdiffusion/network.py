"""Joint U-Net of MM-Diffusion (Ruan et al. 2023, arXiv:2212.09478), for inference.

Sound and video pass side by side, each through its own convolutions; from the second level on,
either also attends to windows of the other. Knows no schedule and no files.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from mmdisco.adapters.mmdiffusion.attention import (
    DilatedConvolution,
    GroupNorm,
    MMDiffusionTimeEmbedding,
)
from mmdisco.adapters.mmdiffusion.blocks import (
    SOUND_POOL,
    Context,
    JointCrossAttention,
    JointStem,
    ModalityBranch,
    dilation_of,
    downsample_block,
    level_block,
    upsample_block,
)
from mmdisco.adapters.mmdiffusion.config import JointConfig, UNetLevel
from mmdisco.adapters.mmdiffusion.shifts import WindowShifts
from mmdisco.core.av import AV, each
from mmdisco.errors import UserError
from mmdisco.io.shapes import PerSample


class AudioHead(nn.Module):
    """Head from channels to samples."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = GroupNorm(channels)
        self.convolution = DilatedConvolution(channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, l, c) to (b, 1, l)."""
        return self.convolution(functional.silu(self.norm(x), inplace=True)).transpose(1, 2)


class VideoHead(nn.Module):
    """Head from channels to pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = GroupNorm(channels)
        self.convolution = nn.Conv3d(channels, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, f, h, w, c) to (b, 3, f, h, w)."""
        return self.convolution(functional.silu(self.norm(x), inplace=True).movedim(-1, 1))


class JointNetwork(nn.Module):
    """Network that predicts ε of sound and video from both, at one time.

    Args:
        config: Shape of the network.
    """

    def __init__(self, config: JointConfig) -> None:
        super().__init__()
        self.config = config
        builder = _Builder(config)
        self.time = MMDiffusionTimeEmbedding(config.width, config.width)
        self.encoder = nn.ModuleList(builder.encoder())
        self.middle = nn.ModuleList(builder.middle())
        self.decoder = nn.ModuleList(builder.decoder())
        self.audio_head = AudioHead(config.levels[0].channels)
        self.video_head = VideoHead(config.levels[0].channels)

    def forward(self, z_t: AV[Tensor], t: PerSample, shifts: WindowShifts) -> AV[Tensor]:
        """Predict ε of both.

        Args:
            z_t: Noisy waveforms (b, 1, l) and frames (b, 3, f, h, w), in [−1, 1] where clean.
            t: Training timestep of each sample, in [0, 1000).
            shifts: Shifts of the windows of cross-attention.

        Raises:
            UserError: The clips do not divide into the network's levels.
        """
        self._check(z_t)
        context = Context(t, self.time(t), shifts)
        z = AV(z_t.audio.transpose(1, 2).contiguous(), z_t.video.movedim(1, -1).contiguous())
        skips: list[AV[Tensor]] = []
        for stage in self.encoder:
            z = stage(z, context)
            skips.append(z)
        for part in self.middle:
            z = part(z, context)
        for stage in self.decoder:
            z = stage(each(_beside, z, skips.pop()), context)
        return AV(self.audio_head(z.audio), self.video_head(z.video))

    def _check(self, z_t: AV[Tensor]) -> None:
        halvings = len(self.config.levels) - 1
        samples, (frames, height, width) = z_t.audio.shape[2], z_t.video.shape[2:]
        if samples % SOUND_POOL**halvings or height % 2**halvings or width % 2**halvings:
            raise UserError(
                f"{samples} samples and frames of {width}×{height}: MM-Diffusion takes multiples "
                f"of {SOUND_POOL**halvings} and {2**halvings}"
            )
        widest = max(level.window for level in self.config.levels)
        if frames < widest:
            raise UserError(f"{frames} frames: MM-Diffusion's widest window is of {widest}")


class Stage(ModalityBranch):
    """Blocks between two skips."""

    def __init__(self, parts: list[ModalityBranch]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    @override
    def forward(self, z: AV[Tensor], context: Context) -> AV[Tensor]:
        for part in self.parts:
            z = part(z, context)
        return z


class _Builder:
    """Builds the parts in the order in which they run: dilations and windows depend on it."""

    def __init__(self, config: JointConfig) -> None:
        self._config = config
        self._widths: list[int] = []
        self._block = 0
        self._crossings = 0

    def encoder(self) -> list[Stage]:
        levels = self._config.levels
        stages = [Stage([JointStem(levels[0].channels)])]
        self._widths.append(levels[0].channels)
        for index, level in enumerate(levels):
            for _ in range(self._config.depth):
                self._block += 1
                stages.append(Stage(self._at(level, self._widths[-1], self._block)))
                self._widths.append(level.channels)
            if index < len(levels) - 1:
                self._block += 1
                dilation = dilation_of(self._block)
                stages.append(
                    Stage([downsample_block(level.channels, self._config.width, dilation)])
                )
                self._widths.append(level.channels)
        return stages

    def middle(self) -> list[ModalityBranch]:
        channels = self._config.levels[-1].channels
        level = UNetLevel(channels, video_attention=True, audio_attention=True)
        dilation = dilation_of(self._block + 1)
        blocks = [level_block(channels, level, self._config.width, dilation) for _ in range(2)]
        if not self._config.crosses_middle:
            return [*blocks]
        return [blocks[0], self._cross(channels, 0), blocks[1]]

    def decoder(self) -> list[Stage]:
        stages: list[Stage] = []
        channels = self._widths[-1]
        for index, level in reversed(list(enumerate(self._config.levels))):
            for remaining in range(self._config.depth, -1, -1):
                parts = self._at(level, channels + self._widths.pop(), self._block)
                channels = level.channels
                self._block -= 1
                if index and not remaining:
                    # the published network does not count this block: the next has its dilation
                    dilation = dilation_of(self._block)
                    parts.append(upsample_block(channels, self._config.width, dilation))
                stages.append(Stage(parts))
        return stages

    def _at(self, level: UNetLevel, channels: int, block: int) -> list[ModalityBranch]:
        parts: list[ModalityBranch] = [
            level_block(channels, level, self._config.width, dilation_of(block))
        ]
        if level.window:
            parts.append(self._cross(level.channels, level.window))
        return parts

    def _cross(self, channels: int, window: int) -> JointCrossAttention:
        self._crossings += 1
        return JointCrossAttention(
            channels, self._config.head_channels, window, self._crossings - 1
        )


def _beside(x: Tensor, skip: Tensor) -> Tensor:
    return torch.cat([x, skip], -1)
