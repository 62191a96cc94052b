"""Runs as the released code puts them together, for those who want its results.

What it does at random (dropout of VideoCrafter2's network, the noise after Auffusion's sounds, the
windows of MM-Diffusion) and its one stream of random numbers are not repeated.
"""

from dataclasses import dataclass
from typing import Final

import torch

from mmdisco.av import AV
from mmdisco.discriminator.base import Discriminator
from mmdisco.errors import UserError
from mmdisco.gradient import EveryTime
from mmdisco.guidance import JointGuidance
from mmdisco.mmdiffusion.sampling import AtTrainedTimes, released_sampler
from mmdisco.models import Conditioning, JointDenoiser, JointModel
from mmdisco.path import IndexPath, NoisePath
from mmdisco.pipeline import Method, Settings
from mmdisco.sampling import Sampler
from mmdisco.sampling.grid import Grid
from mmdisco.shapes import Table

ROWS: Final = 1000


@dataclass(frozen=True)
class ReleasedTime(Grid):
    """The timesteps 1 + k · (1000 // N) for k = N − 1, …, 0: diffusers' "leading" with offset 1."""

    def stops(self, path: NoisePath, steps: int) -> Table:
        """Their place on a path of 1000 rows."""
        if not 1 <= steps < ROWS:
            raise UserError(f"{steps} sampling steps: ask for 1 to {ROWS - 1}")
        k = torch.arange(steps - 1, -1, -1, dtype=torch.float64)
        return (1 + k * (ROWS // steps)) / (ROWS - 1)


@dataclass(frozen=True)
class InsidePrompts(Method):
    """Joint guidance inside classifier-free guidance, at the released timesteps.

    The discriminator is run with the captions and without, and its gradient is extrapolated like
    the noise.
    """

    def sampler(self, model: JointModel, settings: Settings) -> Sampler:
        """At ``ReleasedTime``."""
        path = IndexPath(model.schedules)
        return Sampler(path, settings.solvers, settings.steps, ReleasedTime(), settings.corrections)

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
