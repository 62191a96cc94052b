"""Ways to sample a toy problem, and the distance of samples to its known joint.

Total variation of a histogram is the main metric: support coverage, marginal distances and k-NN
mutual information can each look perfect on samples that are wrong.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from mmdisco.core.av import AV, each
from mmdisco.core.coupling import LevelCoupling
from mmdisco.core.denoiser import Conditioning, JointDenoiser
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.log_ratio import log_ratio_gradient
from mmdisco.core.noise import NoiseLevel, broadcast_like
from mmdisco.core.rng import NoiseSource, randn_tensor
from mmdisco.core.sampler import LinspaceSpacing, LogSNRSpacing, Sampler, TimestepSpacing
from mmdisco.core.schedulers import SOLVERS, solver
from mmdisco.errors import UserError
from mmdisco.experiments.toy.mixture import Mixture
from mmdisco.experiments.toy.problems import ExactLogRatio, ToyProblem

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
        scheduler: A key of ``SOLVERS``.
        steps: Sampling steps.
        grid: A key of ``GRIDS``.
        task: A key of ``TASKS``.
        resamples: Number of times that each step is repeated.
    """

    scheduler: str = "ddim"
    steps: int = 50
    grid: str = "time"
    task: str = "joint"
    resamples: int = 0

    def __post_init__(self) -> None:
        for name, table in (("scheduler", SOLVERS), ("grid", GRIDS), ("task", TASKS)):
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
        own = solver(self.scheduler)
        sampler = Sampler(path, AV(own, own), self.steps, GRIDS[self.grid], self.resamples)
        generator = Generator().manual_seed(10_000 + seed)
        given = goal.split(goal.joint.sample(count, generator).float())
        noise = NoiseSource.from_seeds([seed])
        shape = torch.Size([count, goal.width])
        z_T = sampler.initial(noise, AV(shape, shape))
        points = TASKS[self.task](Start(sampler, denoiser, z_T, given, noise))
        return torch.cat([points.audio, points.video], dim=1)


REFERENCE_SAMPLES = 400_000
BINS = 24
EXTENT = 3.0
SEED = 3


def histogram(points: Tensor) -> Tensor:
    """Compute shares of points in 24 × 24 cells of [−3, 3]², the last entry outside."""
    cell = ((points.double() + EXTENT) / (2 * EXTENT) * BINS).floor().long()
    inside = ((cell >= 0) & (cell < BINS)).all(dim=1)
    index = torch.where(inside, cell[:, 0] * BINS + cell[:, 1], BINS * BINS)
    return torch.bincount(index, minlength=BINS * BINS + 1).double() / len(points)


def total_variation(problem: ToyProblem, points: Tensor) -> float:
    """Compute ½ Σ |share − true share| over the cells, for planes; 0 is perfect, 1 disjoint.

    The truth is a histogram of 400,000 evenly drawn samples. 10,000 true samples score about 0.03
    to 0.05: the floor of this measure.
    """
    truth = problem.joint.sample_evenly(REFERENCE_SAMPLES, _seeded())
    return float(0.5 * (histogram(points) - histogram(truth)).abs().sum())


def sliced_wasserstein(problem: ToyProblem, points: Tensor, projections: int = 128) -> float:
    """Compute the sliced 2-Wasserstein distance to as many true samples, in random directions."""
    generator = _seeded()
    truth = problem.joint.sample_evenly(len(points), generator)
    direction = torch.randn(points.shape[1], projections, generator=generator).double()
    direction = direction / direction.norm(dim=0)
    ours, theirs = ((one.double() @ direction).sort(dim=0).values for one in (points, truth))
    return float((ours - theirs).square().mean().sqrt())


def class_agreement(problem: ToyProblem, points: Tensor) -> float:
    """Compute the share of pairs whose halves, classified separately, have the same component."""

    def classes(start: int, stop: int) -> Tensor:
        # not marginal(), which merges and reorders: a class must have the same index on either side
        law, part = problem.joint, slice(start, stop)
        half = Mixture(law.means[:, part], law.covariance[part, part], law.weights)
        return half.responsibilities(points[:, part]).argmax(dim=1)

    audio, video = classes(0, problem.width), classes(problem.width, 2 * problem.width)
    return float((audio == video).double().mean())


def gradient_r2(
    problem: ToyProblem, path: LevelCoupling, discriminator: Discriminator, count: int = 8000
) -> float:
    """Compute 1 − E‖σ (∇h − ∇h*)‖² / E‖σ ∇h*‖² on noised real pairs, u uniform; no sampler."""
    generator = _seeded()
    levels = path.levels(torch.rand(count, generator=generator, dtype=torch.float64))
    z_0 = problem.split(problem.joint.sample(count, generator).float())
    eps = z_0.map(lambda x: torch.randn(x.shape, generator=generator))
    z_t = each(NoiseLevel.add_noise, levels, z_0, eps)
    text = z_0.map(lambda x: x[:, :0])
    exact = ExactLogRatio(problem.joint, problem.bases)
    ours, truth = (
        log_ratio_gradient(lambda z, h=h: h(z, levels, text), z_t).gradient
        for h in (discriminator, exact)
    )

    def power(gradient: AV[Tensor]) -> float:
        noise = each(lambda g, level: broadcast_like(level.sigma, g) * g, gradient, levels)
        return float(noise.audio.square().sum() + noise.video.square().sum())

    return 1 - power(each(torch.sub, ours, truth)) / power(truth)


def measures(problem: ToyProblem, points: Tensor) -> dict[str, float]:
    """Compute all metrics that fit the problem's dimension."""
    common = {"sw2": sliced_wasserstein(problem, points)}
    if problem.width == 1:
        return {"tv": total_variation(problem, points), **common}
    return {"agreement": class_agreement(problem, points), **common}


def _seeded() -> Generator:
    return torch.Generator().manual_seed(SEED)
