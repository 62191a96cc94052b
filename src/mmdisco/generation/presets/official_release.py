"""Runs as the released code puts them together, for those who want its results.

What it does at random (dropout of VideoCrafter2's network, the noise after Auffusion's sounds, the
windows of MM-Diffusion) and its one stream of random numbers are not repeated.
"""

from dataclasses import dataclass, field
from typing import Final

import torch

from mmdisco.adapters.mmdiffusion.sampling import AtTrainedTimes, released_sampler
from mmdisco.core.av import AV, each
from mmdisco.core.coupling import IndexPath, NoisePath
from mmdisco.core.denoiser import Conditioning, JointDenoiser, JointModel
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.guidance import JointGuidance
from mmdisco.core.log_ratio import EveryTime
from mmdisco.core.noise import NoiseSchedule
from mmdisco.core.sampler import Grid, Sampler
from mmdisco.core.schedulers import Solver
from mmdisco.core.strided import StridedDDPM
from mmdisco.errors import UserError
from mmdisco.generation.pipeline import Method, Settings
from mmdisco.shapes import Table

ROWS: Final = 1000


@dataclass(frozen=True)
class ReleasedTime(Grid):
    """The timesteps k · (1000 // N) + offset for k = N − 1, …, 0: diffusers' "leading" spacing.

    Attributes:
        offset: Of every timestep.
    """

    offset: int = 1

    def stops(self, path: NoisePath, steps: int) -> Table:
        """Their place on a path of 1000 rows."""
        if not 1 <= steps < ROWS:
            raise UserError(f"{steps} sampling steps: ask for 1 to {ROWS - 1}")
        k = torch.arange(steps - 1, -1, -1, dtype=torch.float64)
        return (self.offset + k * (ROWS // steps)) / (ROWS - 1)


@dataclass(frozen=True)
class TrailingTime(Grid):
    """The timesteps 1000 k / N − 1, rounded, for k = N, …, 1: diffusers' "trailing" spacing."""

    def stops(self, path: NoisePath, steps: int) -> Table:
        """Their place on a path of 1000 rows."""
        if not 1 <= steps < ROWS:
            raise UserError(f"{steps} sampling steps: ask for 1 to {ROWS - 1}")
        k = torch.arange(steps, 0, -1, dtype=torch.float64)
        return (k * ROWS / steps - 1).round() / (ROWS - 1)


@dataclass(frozen=True)
class InsidePrompts(Method):
    """Joint guidance inside classifier-free guidance, by DDPM at the released timesteps.

    The discriminator is run with the captions and without, and its gradient is extrapolated like
    the noise. The solvers are the method's own; those of the settings are not used.

    Attributes:
        grid: The timesteps.
        clip_sample: Whether predicted clean latents are cut off at ±1.
    """

    grid: Grid = field(default_factory=ReleasedTime)
    clip_sample: AV[bool] = field(default_factory=lambda: AV(audio=False, video=False))

    def sampler(self, model: JointModel, settings: Settings) -> Sampler:
        """At the timesteps of ``grid``, in strides of 1000 // N."""
        schedules = model.schedules
        solvers = each(_strided, schedules, self.clip_sample)
        steps, corrections = settings.steps, settings.corrections
        return Sampler(IndexPath(schedules), solvers, steps, self.grid, corrections)

    def denoiser(
        self,
        model: JointModel,
        discriminator: Discriminator,
        settings: Settings,
        null: AV[Conditioning],
    ) -> JointDenoiser:
        """Classifier-free guidance of both.

        Raises:
            UserError: The gradient is to be held, which the release does not.
        """
        if settings.asking != EveryTime():
            raise UserError(
                "the released way asks the discriminator with the caption and without at every "
                "step: leave --guidance-every out"
            )
        guided = JointGuidance(model, discriminator, settings.joint_scale)
        return settings.classifier_free(guided, null, settings.guidance_scale)


def _strided(schedule: NoiseSchedule, clip_sample: bool) -> Solver:  # noqa: FBT001
    return StridedDDPM(schedule, clip_sample)


@dataclass(frozen=True)
class TrainedTimes(Method):
    """MM-Diffusion's: the released DPM-Solver++, asking at whole timesteps.

    Its solver is its own; that of the settings is not used.
    """

    def sampler(self, model: JointModel, settings: Settings) -> Sampler:
        """``released_sampler``."""
        return released_sampler(model.schedules, settings.steps)

    def denoiser(
        self,
        model: JointModel,
        discriminator: Discriminator,
        settings: Settings,
        null: AV[Conditioning],
    ) -> JointDenoiser:
        """Joint guidance; the network reads no prompts."""
        asking = settings.asking.begin()
        guided = JointGuidance(model, discriminator, settings.joint_scale, asking)
        return AtTrainedTimes(guided, model.schedules)
