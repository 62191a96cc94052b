"""Super-resolution of videos from 64 × 64 to 256 × 256, frame by frame, by DDIM.

All frames of a video begin at the same noise, which keeps them alike. The network is guided
diffusion's U-Net on a noisy frame and the small one (Dhariwal & Nichol 2021, arXiv:2105.05233), as
MM-Diffusion uses it: diffusers' ``UNet2DModel``.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DModel
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from mmdisco.adapters.mmdiffusion.config import UpscalerConfig
from mmdisco.core.denoiser import Conditioning, Denoiser
from mmdisco.core.noise import NoiseLevel, NoiseSchedule, linear
from mmdisco.core.rng import seeded_generator
from mmdisco.core.schedulers import Solver, VPSolver
from mmdisco.errors import UserError
from mmdisco.io.shapes import Latent, PerSample, VideoLatent
from mmdisco.media.clip import Video


class UpscalerNetwork(nn.Module):
    """Network that predicts ε of a large frame, from the noisy frame and the small one.

    Args:
        config: Shape of the network.
    """

    def __init__(self, config: UpscalerConfig) -> None:
        super().__init__()
        self.config = config
        down = ["AttnDownBlock2D" if one else "ResnetDownsampleBlock2D" for one in config.attention]
        up = ["AttnUpBlock2D" if one else "ResnetUpsampleBlock2D" for one in config.attention]
        kind: Any = UNet2DModel
        self.unet: UNet2DModel = kind(
            in_channels=6,
            out_channels=6,
            block_out_channels=config.levels,
            down_block_types=tuple(down),
            up_block_types=tuple(reversed(up)),
            layers_per_block=config.depth,
            downsample_type="resnet",
            upsample_type="resnet",
            resnet_time_scale_shift="scale_shift",
            attention_head_dim=config.levels[-1] // config.heads,
            attn_norm_num_groups=32,
            norm_eps=1e-5,
        )
        for module in self.unet.modules():
            if isinstance(module, Attention):
                # as many heads at every level, where diffusers has heads of one width
                module.heads = config.heads

    def forward(self, x_t: Tensor, t: PerSample, small: Tensor) -> Tensor:
        """Predict ε, and beside it the logits of a variance that DDIM does not use.

        Args:
            x_t: Noisy frames (n, 3, h, w), in [−1, 1] where clean.
            t: Training timestep of each frame, in [0, 1000).
            small: Small frames (n, 3, h′, w′) of any size, in [−1, 1].

        Returns:
            (n, 6, h, w): ε in the first three channels.

        Raises:
            UserError: The frames do not divide into the network's levels.
        """
        unit = 2 ** (len(self.config.levels) - 1)
        height, width = x_t.shape[2:]
        if height % unit or width % unit:
            raise UserError(f"frames of {width}×{height}: the upscaler takes multiples of {unit}")
        seen = functional.interpolate(small, (height, width), mode="bilinear")
        unet: Any = self.unet
        return unet(torch.cat([x_t, seen], 1), t.float()).sample


class Frames(ABC):
    """Postprocessing of decoded videos."""

    @abstractmethod
    def shown(self, videos: Sequence[Video]) -> list[Video]:
        """Process the videos of a batch."""


@dataclass(frozen=True)
class NativeFrames(Frames):
    """No postprocessing."""

    @override
    def shown(self, videos: Sequence[Video]) -> list[Video]:
        return list(videos)


def to_videos(x_0: Latent, fps: Fraction) -> list[Video]:
    """Convert frames (b, 3, f, h, w) in [−1, 1] to videos."""
    frames = ((x_0 + 1) / 2).clamp(0, 1).movedim(1, -1).to("cpu").float().numpy()
    return [Video(np.ascontiguousarray(one), fps) for one in frames]


@dataclass(frozen=True)
class FrameDenoiser(Denoiser):
    """Denoiser of large frames (n, 3, h, w); ``embeds`` of the conditioning holds the small ones.

    Attributes:
        network: The network with its weights.
    """

    network: UpscalerNetwork

    @property
    @override
    def schedule(self) -> NoiseSchedule:
        return linear()

    @override
    def predict_noise(self, x_t: Latent, level: NoiseLevel, cond: Conditioning) -> Latent:
        weight = self.network.unet.conv_in.weight
        (small,) = cond.embeds
        out = self.network(x_t.to(weight), level.t.to(weight.device), small.to(weight))
        return out[:, :3].to(x_t)


def bounded_ddim() -> Solver:
    """Build DDIM (Song et al. 2021) with x_0 clipped to [−1, 1], and ε of the clipped x_0."""
    return VPSolver(DDIMScheduler(clip_sample=True), (("use_clipped_model_output", 1.0),))


@dataclass(frozen=True)
class Upscaler:
    """Super-resolution of videos.

    Attributes:
        denoiser: Denoiser of the large frames.
        steps: Evaluations per frame.
        frames_at_once: Frames per batch; more cost memory and change nothing else.
    """

    denoiser: FrameDenoiser
    steps: int
    frames_at_once: int = 2

    def enlarge(self, video: Video, seed: int) -> Video:
        """Upscale a video to the network's size.

        Args:
            video: Video of smaller frames, of any size.
            seed: Seed of the noise.

        Raises:
            UserError: The settings cannot be run.
        """
        side = self.denoiser.network.config.side
        noise = torch.randn(1, 3, side, side, generator=seeded_generator(seed, 0))
        small = torch.from_numpy(np.ascontiguousarray(video.frames)).movedim(-1, 0)[None]
        (large,) = to_videos(self.sample(small * 2 - 1, noise), video.fps)
        return large

    def sample(self, small: VideoLatent, noise: Tensor) -> Tensor:
        """Sample large frames (b, 3, f, h, w) of small ones, all in [−1, 1].

        Args:
            small: Small frames (b, 3, f, h′, w′).
            noise: One image of noise per video, (b, 3, h, w).
        """
        batch = len(small)
        pictures = small.transpose(1, 2).flatten(0, 1)
        starts = noise[:, None].expand(-1, small.shape[2], -1, -1, -1).flatten(0, 1)
        with torch.no_grad():
            parts = [
                self._frames(picture, start)
                for picture, start in zip(
                    pictures.split(self.frames_at_once),
                    starts.split(self.frames_at_once),
                    strict=True,
                )
            ]
        return torch.cat(parts).unflatten(0, (batch, -1)).transpose(1, 2)

    def _frames(self, small: Tensor, x_t: Tensor) -> Tensor:
        levels = self._levels()
        cond = Conditioning(torch.zeros(len(small), 0), (small,))
        run = bounded_ddim().begin(levels)
        for index in range(self.steps):
            here = slice(index, index + 1)
            level = NoiseLevel(levels.t[here], levels.alpha[here], levels.sigma[here])
            eps = self.denoiser.predict_noise(x_t, level.expand(len(small)), cond)
            x_t = run.step(index, x_t, eps, [])
        return x_t

    def _levels(self) -> NoiseLevel:
        """Return the levels of timesteps (steps − 1) · 1000 / steps, …, 0."""
        rows = len(self.denoiser.schedule.times)
        if not 1 <= self.steps <= rows:
            raise UserError(f"{self.steps} steps of enlarging: ask for 1 to {rows}")
        ladder = torch.arange(self.steps - 1, -1, -1, dtype=torch.float64)
        return self.denoiser.schedule.level(ladder * (rows // self.steps))


@dataclass(frozen=True)
class UpscaledFrames(Frames):
    """Super-resolution of every video.

    Attributes:
        upscaler: The upscaler.
        seeds: Seeds of the noise, one per video.
    """

    upscaler: Upscaler
    seeds: tuple[int, ...]

    def shown(self, videos: Sequence[Video]) -> list[Video]:
        """Upscale the videos.

        Raises:
            UserError: There are not as many seeds as videos.
        """
        if len(self.seeds) != len(videos):
            raise UserError(
                f"{len(self.seeds)} seeds for {len(videos)} videos to enlarge: give one a video"
            )
        return [self.upscaler.enlarge(*one) for one in zip(videos, self.seeds, strict=True)]
