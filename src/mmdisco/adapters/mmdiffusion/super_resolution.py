"""From videos of 64 × 64 to 256 × 256, frame by frame, as MM-Diffusion is shown.

DDIM; all frames of a video begin at the same noise, which keeps them alike.

Frames as the networks have them, as videos, and what is done with videos at the end.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from mmdisco.adapters.mmdiffusion.upscaler import UpscalerNetwork
from mmdisco.core.denoiser import Conditioning, Denoiser
from mmdisco.core.noise import NoiseLevel, NoiseSchedule, linear
from mmdisco.core.rng import seeded_generator
from mmdisco.core.schedulers import Solver, VPSolver
from mmdisco.errors import UserError
from mmdisco.media.clip import Video
from mmdisco.shapes import Latent, VideoLatent


class Frames(ABC):
    """What becomes of decoded videos."""

    @abstractmethod
    def shown(self, videos: Sequence[Video]) -> list[Video]:
        """The videos of a batch as a clip has them."""


@dataclass(frozen=True)
class AsTheyAre(Frames):
    """Nothing."""

    def shown(self, videos: Sequence[Video]) -> list[Video]:
        """The same videos."""
        return list(videos)


def to_videos(x_0: Latent, fps: Fraction) -> list[Video]:
    """Frames (b, 3, f, h, w) in [−1, 1] as videos."""
    frames = ((x_0 + 1) / 2).clamp(0, 1).movedim(1, -1).to("cpu").float().numpy()
    return [Video(np.ascontiguousarray(one), fps) for one in frames]


@dataclass(frozen=True)
class FrameDenoiser(Denoiser):
    """ε of large frames (n, 3, h, w); ``embeds`` of the conditioning holds their small forms.

    Attributes:
        network: With its weights.
    """

    network: UpscalerNetwork

    @property
    def schedule(self) -> NoiseSchedule:
        """β linear from 10⁻⁴ to 0.02."""
        return linear()

    def predict_noise(self, x_t: Latent, level: NoiseLevel, cond: Conditioning) -> Latent:
        """ε of each frame."""
        weight = self.network.head_norm.weight
        (small,) = cond.embeds
        out = self.network(x_t.to(weight), level.t.to(weight.device), small.to(weight))
        return out[:, :3].to(x_t)


def bounded_ddim() -> Solver:
    """DDIM (Song et al. 2021) with x_0 kept in [−1, 1], and ε taken from what is kept."""
    return VPSolver(DDIMScheduler(clip_sample=True), (("use_clipped_model_output", 1.0),))


@dataclass(frozen=True)
class Upscaler:
    """Enlarges videos.

    Attributes:
        denoiser: Of the large frames.
        steps: Evaluations a frame.
        frames_at_once: A larger number costs memory and changes nothing else.
    """

    denoiser: FrameDenoiser
    steps: int
    frames_at_once: int = 2

    def enlarge(self, video: Video, seed: int) -> Video:
        """The same video at the network's size.

        Args:
            video: Smaller frames, of any size.
            seed: Of the noise.

        Raises:
            UserError: The settings cannot be run.
        """
        side = self.denoiser.network.config.side
        noise = torch.randn(1, 3, side, side, generator=seeded_generator(seed, 0))
        small = torch.from_numpy(np.ascontiguousarray(video.frames)).movedim(-1, 0)[None]
        (large,) = to_videos(self.sample(small * 2 - 1, noise), video.fps)
        return large

    def sample(self, small: VideoLatent, noise: Tensor) -> Tensor:
        """Large frames (b, 3, f, h, w) of small ones, all in [−1, 1].

        Args:
            small: (b, 3, f, h′, w′).
            noise: One image a video, (b, 3, h, w).
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
        """The timesteps from (steps − 1) · 1000 / steps down to 0."""
        rows = len(self.denoiser.schedule.times)
        if not 1 <= self.steps <= rows:
            raise UserError(f"{self.steps} steps of enlarging: ask for 1 to {rows}")
        ladder = torch.arange(self.steps - 1, -1, -1, dtype=torch.float64)
        return self.denoiser.schedule.level(ladder * (rows // self.steps))


@dataclass(frozen=True)
class Enlarged(Frames):
    """Every video made larger.

    Attributes:
        upscaler: By what.
        seeds: Of the noise, one a video.
    """

    upscaler: Upscaler
    seeds: tuple[int, ...]

    def shown(self, videos: Sequence[Video]) -> list[Video]:
        """The same videos at the size of the upscaler.

        Raises:
            UserError: There are not as many seeds as videos.
        """
        if len(self.seeds) != len(videos):
            raise UserError(
                f"{len(self.seeds)} seeds for {len(videos)} videos to enlarge: give one a video"
            )
        return [self.upscaler.enlarge(*one) for one in zip(videos, self.seeds, strict=True)]
