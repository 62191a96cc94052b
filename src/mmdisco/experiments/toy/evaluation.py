"""Ways to sample a toy problem: solver, steps, grid, resampling and task."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from mmdisco.core.av import AV
from mmdisco.core.coupling import LevelCoupling
from mmdisco.core.denoiser import Conditioning, JointDenoiser
from mmdisco.core.noise import NoiseLevel
from mmdisco.core.rng import NoiseSource, randn_tensor
from mmdisco.core.sampler import LinspaceSpacing, LogSNRSpacing, Sampler, TimestepSpacing
from mmdisco.core.schedulers import SOLVERS, solver
from mmdisco.errors import UserError
from mmdisco.experiments.toy.problems import ToyProblem

GRIDS: dict[str, TimestepSpacing] = {"time": LinspaceSpacing(), "log-snr": LogSNRSpacing()}


@dataclass(frozen=True)
class Start:
    """Inputs of a task: the joint run, its noise, and true samples to give."""

    sampler: Sampler
    denoiser: JointDenoiser
    z_T: AV[Tensor]
    given: AV[Tensor]
    noise: NoiseSource

    def finish(self, sampler: Sampler, denoiser: JointDenoiser, z_T: AV[Tensor]) -> AV[Tensor]:
        """Run to the end."""
        cond = z_T.map(lambda x: Conditioning.none(len(x)))
        return sampler.sample(denoiser, z_T, cond, self.noise)


def joint(start: Start) -> AV[Tensor]:
    """Sample both modalities from noise."""
    return start.finish(start.sampler, start.denoiser, start.z_T)


def audio_given_video(start: Start) -> AV[Tensor]:
    """Sample audio for true videos, held at noise level 0."""
    z_T = AV(start.z_T.audio, start.given.video)
    return start.finish(start.sampler.given_video(), start.denoiser, z_T)


def video_given_audio(start: Start) -> AV[Tensor]:
    """Sample video for true audios, held at noise level 0."""
    z_T = AV(start.given.audio, start.z_T.video)
    return start.finish(start.sampler.given_audio(), start.denoiser, z_T)


def audio_by_replacement(start: Start) -> AV[Tensor]:
    """Sample audio for true videos that are noised to its level at every step, a biased control."""
    denoiser = _Replaced(start.denoiser, start.given.video, start.noise)
    sampled = start.finish(start.sampler, denoiser, start.z_T)
    return AV(sampled.audio, start.given.video)


@dataclass(frozen=True)
class _Replaced(JointDenoiser):
    denoiser: JointDenoiser
    video: Tensor
    noise: NoiseSource

    def predict_noise(
        self, z_t: AV[Tensor], level: AV[NoiseLevel], cond: AV[Conditioning]
    ) -> AV[Tensor]:
        generators = self.noise.generators.video
        eps = randn_tensor(self.video.shape, generators, self.video.dtype)
        noised = AV(z_t.audio, level.video.add_noise(self.video, eps))
        return self.denoiser.predict_noise(noised, level, cond)


TASKS: dict[str, Callable[[Start], AV[Tensor]]] = {
    "joint": joint,
    "audio given video": audio_given_video,
    "video given audio": video_given_audio,
    "audio by replacement": audio_by_replacement,
}


@dataclass(frozen=True)
class ToyEvaluation:
    """A way to sample, by names that a table can print.

    Attributes:
        solver: A key of ``SOLVERS``.
        steps: Sampling steps.
        grid: A key of ``GRIDS``.
        task: A key of ``TASKS``.
        resamples: Number of times that each step is repeated.
    """

    solver: str = "ddim"
    steps: int = 50
    grid: str = "time"
    task: str = "joint"
    resamples: int = 0

    def __post_init__(self) -> None:
        for name, table in (("solver", SOLVERS), ("grid", GRIDS), ("task", TASKS)):
            if getattr(self, name) not in table:
                raise UserError(
                    f"unknown {name} {getattr(self, name)!r}: choose one of {', '.join(table)}"
                )
        if self.steps < 1:
            raise UserError(f"{self.steps} sampling steps: ask for at least 1")

    def sample(
        self, goal: ToyProblem, path: LevelCoupling, denoiser: JointDenoiser, count: int, seed: int
    ) -> Tensor:
        """Sample points of the joint, (count, 2 d); the given modality consists of true samples."""
        own = solver(self.solver)
        sampler = Sampler(path, AV(own, own), self.steps, GRIDS[self.grid], self.resamples)
        generator = Generator().manual_seed(10_000 + seed)
        given = goal.split(goal.joint.sample(count, generator).float())
        noise = NoiseSource.shared(seed)
        shape = torch.Size([count, goal.width])
        z_T = sampler.initial(noise, AV(shape, shape))
        points = TASKS[self.task](Start(sampler, denoiser, z_T, given, noise))
        return torch.cat([points.audio, points.video], dim=1)
