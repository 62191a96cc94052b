"""Runs that combine models as the released code does, to reproduce its results.

Its random parts (dropout of VideoCrafter2's network, the noise after Auffusion's sounds, the
windows of MM-Diffusion) and its single stream of random numbers are not reproduced.
"""

from dataclasses import dataclass, field
from typing import Final

import torch

from mmdisco.core.av import AV, each
from mmdisco.core.coupling import LevelCoupling, SameTimestep
from mmdisco.core.denoiser import Conditioning, JointDenoiser, JointModel
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.guidance import JointGuidance
from mmdisco.core.log_ratio import ReuseEvery
from mmdisco.core.noise import NoiseSchedule
from mmdisco.core.sampler import Sampler, TimestepSpacing
from mmdisco.core.schedulers import Solver
from mmdisco.core.strided import StridedDDPM
from mmdisco.errors import UserError
from mmdisco.generation.pipeline import GuidanceOrder, SamplerConfig
from mmdisco.io.shapes import Table

ROWS: Final = 1000


@dataclass(frozen=True)
class ReleasedTime(TimestepSpacing):
    """Timesteps k · (1000 // N) + offset for k = N − 1, …, 0: diffusers' "leading" spacing.

    Attributes:
        offset: Added to every timestep.
    """

    offset: int = 1

    def stops(self, path: LevelCoupling, steps: int) -> Table:
        """Return the positions of the timesteps on a path of 1000 rows."""
        if not 1 <= steps < ROWS:
            raise UserError(f"{steps} sampling steps: ask for 1 to {ROWS - 1}")
        k = torch.arange(steps - 1, -1, -1, dtype=torch.float64)
        return (self.offset + k * (ROWS // steps)) / (ROWS - 1)


@dataclass(frozen=True)
class TrailingSpacing(TimestepSpacing):
    """Timesteps 1000 k / N − 1, rounded, for k = N, …, 1: diffusers' "trailing" spacing."""

    def stops(self, path: LevelCoupling, steps: int) -> Table:
        """Return the positions of the timesteps on a path of 1000 rows."""
        if not 1 <= steps < ROWS:
            raise UserError(f"{steps} sampling steps: ask for 1 to {ROWS - 1}")
        k = torch.arange(steps, 0, -1, dtype=torch.float64)
        return (k * ROWS / steps - 1).round() / (ROWS - 1)


@dataclass(frozen=True)
class JointInsideCFG(GuidanceOrder):
    """Joint guidance inside classifier-free guidance, by DDPM at the released timesteps.

    The discriminator is run with and without captions, and its gradient is extrapolated like the
    noise. The solvers are the release's own; those of the settings are not used.

    Attributes:
        grid: Spacing of the timesteps.
        clip_sample: Whether predicted clean latents are clipped to ±1.
    """

    grid: TimestepSpacing = field(default_factory=ReleasedTime)
    clip_sample: AV[bool] = field(default_factory=lambda: AV(audio=False, video=False))

    def sampler(self, model: JointModel, settings: SamplerConfig) -> Sampler:
        """Build a DDPM sampler at the timesteps of ``grid``, in strides of 1000 // N."""
        schedules = model.schedules
        solvers = each(_strided, schedules, self.clip_sample)
        steps, resamples = settings.steps, settings.resamples
        return Sampler(SameTimestep(schedules), solvers, steps, self.grid, resamples)

    def denoiser(
        self,
        model: JointModel,
        discriminator: Discriminator,
        settings: SamplerConfig,
        null: AV[Conditioning],
    ) -> JointDenoiser:
        """Apply classifier-free guidance to the jointly guided base models.

        Raises:
            UserError: The gradient is to be held over several steps, which the release does not do.
        """
        if settings.reuse != ReuseEvery():
            raise UserError(
                "the released way runs the discriminator with the caption and without at every "
                "step: leave --joint-every out"
            )
        guided = JointGuidance(model, discriminator, settings.joint_scale)
        return settings.classifier_free(guided, null, settings.cfg_scale)


def _strided(schedule: NoiseSchedule, clip_sample: bool) -> Solver:  # noqa: FBT001
    return StridedDDPM(schedule, clip_sample)
