"""DDPM in strides of one length, as in the released code.

A step from timestep t ends at t − T // N, for T rows and N steps, whatever timestep comes next.
Where the timesteps are spaced by T // N ("leading") that is the next one; where they are not
("trailing" spacing of an N that does not divide T) it is a neighbour of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from diffusers import DDPMScheduler
from torch import Generator
from typing_extensions import override

from mmdisco.core.noise import NoiseLevel, NoiseSchedule
from mmdisco.core.schedulers import Solver, SolverState
from mmdisco.io.shapes import Latent


class StridedScheduler(DDPMScheduler):
    """diffusers' ``DDPMScheduler`` with a fixed stride.

    Args:
        schedule: Variance preserving, a row for each whole timestep.
        levels: Levels of the run, at rows of the schedule.
        clip_sample: Whether to clip predicted clean latents to ±1.
    """

    def __init__(self, schedule: NoiseSchedule, levels: NoiseLevel, *, clip_sample: bool) -> None:
        rows = len(schedule.times)
        super().__init__(num_train_timesteps=rows, clip_sample=clip_sample)
        # the product of betas in single precision would round once for each row
        self.alphas_cumprod = schedule.alphas.square().float()
        self.num_inference_steps = len(levels.t)
        self.timesteps = levels.t.round().long()
        self.stride = rows // len(levels.t)

    def previous_timestep(self, timestep: int) -> int:
        """Return the timestep at which a step ends; below 0 for a clean latent."""
        return timestep - self.stride


@dataclass(frozen=True)
class StridedDDPM(Solver):
    """Ancestral sampling with the posterior variance (Ho et al. 2020, Eq. 7), in equal strides.

    Attributes:
        schedule: Variance preserving, a row for each whole timestep; the levels of a run are rows
            of it.
        clip_sample: Whether to clip predicted clean latents to ±1, as is right for pixels.
    """

    schedule: NoiseSchedule
    clip_sample: bool = False

    @override
    def begin(self, levels: NoiseLevel) -> SolverState:
        return _StridedRun(
            self.schedule, StridedScheduler(self.schedule, levels, clip_sample=self.clip_sample)
        )


@dataclass(frozen=True)
class _StridedRun(SolverState):
    schedule: NoiseSchedule
    scheduler: StridedScheduler

    def step(self, index: int, x_t: Latent, eps: Latent, noise: list[Generator]) -> Latent:
        t = int(self.scheduler.timesteps[index])
        given: Any = noise
        stepped = self.scheduler.step(eps, t, x_t, generator=given, return_dict=False)
        return stepped[0].to(x_t.dtype)

    def arrival(self, levels: NoiseLevel, index: int) -> NoiseLevel:
        """Return the row one stride below."""
        t = self.scheduler.previous_timestep(int(self.scheduler.timesteps[index]))
        return self.schedule.levels().at(t) if t >= 0 else NoiseLevel.clean(1)

    def copy(self) -> SolverState:
        return self  # a step has no state

    def take(self, rows: Sequence[int]) -> SolverState:
        return self
