"""The loop: a generator over a run of both modalities. Knows denoisers by their one method.

Where along a noise path a run of N steps stops. Knows paths; knows no solver.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Generator, Tensor

from mmdisco.core.av import AV, each
from mmdisco.core.coupling import CleanAudio, CleanVideo, LevelCoupling
from mmdisco.core.denoiser import Conditioning, JointDenoiser
from mmdisco.core.noise import NoiseLevel, broadcast_like
from mmdisco.core.rng import NoiseSource, randn_tensor
from mmdisco.core.schedulers import NoOpSolver, Solver, SolverState
from mmdisco.errors import UserError
from mmdisco.shapes import Latent, Table


class TimestepSpacing(ABC):
    """The u of a run's steps, from the most noise to the least."""

    @abstractmethod
    def stops(self, path: LevelCoupling, steps: int) -> Table:
        """``steps`` values of u, falling, in [0, 1]; the step after the last one ends at x_0."""


@dataclass(frozen=True)
class LinspaceSpacing(TimestepSpacing):
    """Equal steps of u from 1 to 0, both ends included."""

    def stops(self, path: LevelCoupling, steps: int) -> Table:
        """From u = 1 to u = 0."""
        return torch.linspace(1, 0, _at_least_one(steps), dtype=torch.float64)


@dataclass(frozen=True)
class LeadingSpacing(TimestepSpacing):
    """Equal steps that leave the top of the path out: u = k/N for k = N − 1, …, 0.

    The pipelines of Stable Diffusion space their timesteps so ("leading").
    """

    def stops(self, path: LevelCoupling, steps: int) -> Table:
        """From u = (N − 1)/N to u = 0."""
        return torch.arange(_at_least_one(steps) - 1, -1, -1, dtype=torch.float64) / steps


@dataclass(frozen=True)
class LogSNRSpacing(TimestepSpacing):
    """Equal steps of the log-SNR of whichever side is noisy (Lu et al. 2022, Section 3.2)."""

    resolution: int = 4096

    def stops(self, path: LevelCoupling, steps: int) -> Table:
        """The u of equally spaced log-SNR."""
        u = torch.linspace(0, 1, self.resolution, dtype=torch.float64)
        levels = path.levels(u)
        level = levels.video if levels.audio.is_clean else levels.audio
        falling = level.log_snr
        wanted = torch.linspace(
            float(falling[-1]), float(falling[0]), _at_least_one(steps), dtype=torch.float64
        )
        rising = falling.flip(0)
        right = torch.searchsorted(rising, wanted).clamp(1, self.resolution - 1)
        left = right - 1
        share = ((wanted - rising[left]) / (rising[right] - rising[left])).clamp(0, 1)
        backwards = u.flip(0)
        return backwards[left] + share * (backwards[right] - backwards[left])


def _at_least_one(steps: int) -> int:
    if steps < 1:
        raise UserError(f"{steps} sampling steps: ask for at least 1")
    return steps


@dataclass(frozen=True)
class Sampler:
    """A way to sample: path, steps along it and a solver per modality.

    Attributes:
        path: Pairs of noise levels, the same that the discriminator was trained on.
        solvers: How either modality steps.
        steps: Evaluations of the denoiser, corrections apart.
        grid: Where on the path they lie.
        resamples: How often each step is taken again from both latents noised back by one step.
    """

    path: LevelCoupling
    solvers: AV[Solver]
    steps: int = 50
    grid: TimestepSpacing = field(default_factory=LinspaceSpacing)
    resamples: int = 0

    def given_video(self) -> "Sampler":
        """The same run with the video given: z_T holds noise and the clean video."""
        return replace(
            self, path=CleanVideo(self.path), solvers=AV(self.solvers.audio, NoOpSolver())
        )

    def given_audio(self) -> "Sampler":
        """The same run with the audio given: z_T holds the clean audio and noise."""
        return replace(
            self, path=CleanAudio(self.path), solvers=AV(NoOpSolver(), self.solvers.video)
        )

    def initial(self, noise: NoiseSource, shapes: AV[torch.Size]) -> AV[Tensor]:
        """Pure noise in the units of the run's first level; ``shapes`` with the batch in front."""

        def scaled(eps: Tensor, levels: NoiseLevel) -> Tensor:
            return eps * broadcast_like(levels.at(0).expand(len(eps)).magnitude, eps)

        return each(scaled, noise.draw(shapes), self._levels())

    def run(
        self,
        denoiser: JointDenoiser,
        z_T: AV[Tensor],
        cond: AV[Conditioning],
        noise: NoiseSource,
    ) -> Iterator[AV[Tensor]]:
        """Walk down the path.

        Args:
            denoiser: Predicts the noise of both modalities.
            z_T: Noise, as ``initial`` gives it; the clean latent for a given side.
            cond: Captions, one per sample.
            noise: Generators of solvers and corrections that add noise.

        Yields:
            Both latents after each step, in the units of their schedules; the last ones are clean.
        """
        levels = self._levels()
        runs = each(lambda solver, own: solver.begin(own), self.solvers, levels)
        batch_size = len(z_T.audio)
        z = z_T
        for index in range(self.steps):
            here = levels.map(lambda own, i=index: own.at(i).expand(batch_size))
            there = each(
                lambda run, own, i=index: run.arrival(own, i).expand(batch_size), runs, levels
            )
            for remaining in range(self.resamples, -1, -1):
                with torch.no_grad():
                    eps = denoiser.predict_noise(z, here, cond)
                    # a step to be taken again leaves no trace in the solver's history
                    taken = runs.map(lambda run: run.copy()) if remaining else runs
                    z = _step(taken, index, z, eps, noise)
                    if remaining:
                        z = each(_noise_back, z, there, here, noise.generators)
            yield z

    def sample(
        self,
        denoiser: JointDenoiser,
        z_T: AV[Tensor],
        cond: AV[Conditioning],
        noise: NoiseSource,
    ) -> AV[Tensor]:
        """The clean latents at the end of ``run``."""
        return deque(self.run(denoiser, z_T, cond, noise), maxlen=1).pop()

    def _levels(self) -> AV[NoiseLevel]:
        if self.resamples < 0:
            raise UserError(f"{self.resamples} corrections: ask for 0 or more")
        return self.path.levels(self.grid.stops(self.path, self.steps))


def _step(
    runs: AV[SolverState], index: int, z: AV[Tensor], eps: AV[Tensor], noise: NoiseSource
) -> AV[Tensor]:
    def step(run: SolverState, x_t: Latent, eps: Latent, generators: list[Generator]) -> Latent:
        return run.step(index, x_t, eps, generators)

    return each(step, runs, z, eps, noise.generators)


def _noise_back(
    x_s: Latent, level_s: NoiseLevel, level_t: NoiseLevel, generators: list[Generator]
) -> Latent:
    """The forward kernel from level s back to the noisier t: r x_s + √(σ_t² − r² σ_s²) ε."""
    ratio = level_t.alpha / level_s.alpha
    spread = (level_t.sigma.square() - (ratio * level_s.sigma).square()).clamp(min=0).sqrt()
    eps = randn_tensor(x_s.shape, generators, x_s.dtype)
    return broadcast_like(ratio, x_s) * x_s + broadcast_like(spread, x_s) * eps
