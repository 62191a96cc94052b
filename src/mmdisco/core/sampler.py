"""The sampling loop, a generator over the steps of both modalities, and its timestep spacings."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator as Steps
from dataclasses import dataclass, field, replace

import torch
from torch import Generator, Tensor
from typing_extensions import override

from mmdisco.core.av import AV, each
from mmdisco.core.coupling import CleanAudio, CleanVideo, LevelCoupling
from mmdisco.core.denoiser import Conditioning, JointDenoiser
from mmdisco.core.noise import NoiseLevel, broadcast_like, interpolate
from mmdisco.core.rng import NoiseSource, randn_tensor
from mmdisco.core.schedulers import NoOpSolver, Solver, adds_noise
from mmdisco.errors import UserError
from mmdisco.io.shapes import Latent, Table


class TimestepSpacing(ABC):
    """Spacing of a run's steps in u, from the most noise to the least."""

    @abstractmethod
    def stops(self, path: LevelCoupling, steps: int) -> Table:
        """Return ``steps`` falling values of u in [0, 1]; the last step leads from there to x_0."""


@dataclass(frozen=True)
class LinspaceSpacing(TimestepSpacing):
    """Equal steps of u from 1 to 0, both ends included."""

    @override
    def stops(self, path: LevelCoupling, steps: int) -> Table:
        return torch.linspace(1, 0, _at_least_one(steps), dtype=torch.float64)


@dataclass(frozen=True)
class LogSNRSpacing(TimestepSpacing):
    """Equal steps of the log-SNR of whichever side is noisy (Lu et al. 2022, Section 3.2)."""

    resolution: int = 4096

    def stops(self, path: LevelCoupling, steps: int) -> Table:
        """Return the u of equally spaced log-SNR, by interpolation in a table of the coupling."""
        u = torch.linspace(0, 1, self.resolution, dtype=torch.float64)
        levels = path.levels(u)
        falling = (levels.video if levels.audio.is_clean else levels.audio).log_snr
        wanted = torch.linspace(
            float(falling[-1]), float(falling[0]), _at_least_one(steps), dtype=torch.float64
        )
        return interpolate(wanted, falling.flip(0), u.flip(0))


def _at_least_one(steps: int) -> int:
    if steps < 1:
        raise UserError(f"{steps} sampling steps: ask for at least 1")
    return steps


class Resampling(ABC):
    """Choice of the samples of a batch that go on after a step, as the particles of one run do."""

    @abstractmethod
    def rows(self, step: int, z_t: AV[Tensor], level: AV[NoiseLevel]) -> list[int] | None:
        """Return the positions of as many samples, some of them repeated; ``None`` keeps all.

        Args:
            step: The step, from 0; never the last one.
            z_t: Latents after the step.
            level: Their levels.
        """


@dataclass(frozen=True)
class Sampler:
    """Coupling, steps along it and a scheduler per modality.

    Attributes:
        path: Pairs of noise levels, the same that the discriminator was trained on.
        solvers: Scheduler of either modality.
        steps: Evaluations of the denoiser, without resampling.
        grid: Spacing of the steps along the coupling.
        resamples: Repeats of each step, from both latents noised back by one step.
    """

    path: LevelCoupling
    solvers: AV[Solver]
    steps: int = 50
    grid: TimestepSpacing = field(default_factory=LinspaceSpacing)
    resamples: int = 0

    def given_video(self) -> "Sampler":
        """Return the sampler for a given video: z_T holds noise and the clean video."""
        return replace(
            self, path=CleanVideo(self.path), solvers=AV(self.solvers.audio, NoOpSolver())
        )

    def given_audio(self) -> "Sampler":
        """Return the sampler for a given audio: z_T holds the clean audio and noise."""
        return replace(
            self, path=CleanAudio(self.path), solvers=AV(NoOpSolver(), self.solvers.video)
        )

    def initial(self, noise: NoiseSource, shapes: AV[torch.Size]) -> AV[Tensor]:
        """Draw pure noise in the units of the run's first level; ``shapes`` include the batch."""
        first = self.levels().map(lambda own: own.at(0).expand(shapes.audio[0]).magnitude)
        return each(lambda eps, own: eps * broadcast_like(own, eps), noise.draw(shapes), first)

    def run(
        self,
        denoiser: JointDenoiser,
        z_T: AV[Tensor],
        cond: AV[Conditioning],
        noise: NoiseSource,
        resampling: Resampling | None = None,
    ) -> Steps[AV[Tensor], AV[Tensor] | None]:
        """Run the steps of the coupling, from the most noise to the least.

        Args:
            denoiser: Predicts the noise of both modalities.
            z_T: Noise, as ``initial`` returns it; the clean latent for a given side.
            cond: Captions, one per sample.
            noise: Generators of the noise that schedulers and resampling add. They stay where they
                are when samples are chosen, so that copies part.
            resampling: Chooses samples after each step but the last.

        Raises:
            UserError: Samples are to be chosen, and no solver adds noise.

        Yields:
            Both latents after each step, in the units of their schedules; the last ones are clean.
            Latents that are sent in answer replace them.
        """
        levels = self.levels()
        if resampling is not None:
            _expect_noise(each(adds_noise, self.solvers, levels))
        runs = each(lambda solver, own: solver.begin(own), self.solvers, levels)
        batch_size = len(z_T.audio)
        z: AV[Tensor] = z_T
        for index in range(self.steps):
            here = levels.map(lambda own, i=index: own.at(i).expand(batch_size))
            there = each(
                lambda run, own, i=index: run.arrival(own, i).expand(batch_size), runs, levels
            )
            for remaining in range(self.resamples, -1, -1):
                with torch.no_grad():
                    eps = denoiser.predict_noise(z, here, cond)
                    # a step that will be repeated leaves no trace in the scheduler's history
                    taken = runs.map(lambda run: run.copy()) if remaining else runs
                    z = each(
                        lambda run, x_t, eps, own, i=index: run.step(i, x_t, eps, own),
                        taken,
                        z,
                        eps,
                        noise.generators,
                    )
                    if remaining:
                        z = each(_noise_back, z, there, here, noise.generators)
            chosen = None
            if resampling is not None and index + 1 < self.steps:
                chosen = resampling.rows(index, z, there)
            if chosen is not None:
                z = z.map(lambda x, rows=chosen: x[rows])
                runs = runs.map(lambda run, rows=chosen: run.take(rows))
            z = (yield z) or z

    def sample(
        self,
        denoiser: JointDenoiser,
        z_T: AV[Tensor],
        cond: AV[Conditioning],
        noise: NoiseSource,
    ) -> AV[Tensor]:
        """Return the clean latents at the end of ``run``."""
        return deque(self.run(denoiser, z_T, cond, noise), maxlen=1).pop()

    def levels(self) -> AV[NoiseLevel]:
        """Return the levels that the steps begin at."""
        if self.resamples < 0:
            raise UserError(f"{self.resamples} resamples: ask for 0 or more")
        return self.path.levels(self.grid.stops(self.path, self.steps))


def _expect_noise(added: AV[bool]) -> None:
    if not (added.audio or added.video):
        raise UserError(
            "copies of a sample stay equal where no noise is added: choose a solver that adds some"
        )


def _noise_back(
    x: Latent, level: NoiseLevel, level_t: NoiseLevel, generators: list[Generator]
) -> Latent:
    """Apply the forward kernel from level τ back to the noisier t: r x_τ + √(σ_t² − r² σ_τ²) ε."""
    ratio = level_t.alpha / level.alpha
    spread = (level_t.sigma.square() - (ratio * level.sigma).square()).clamp(min=0).sqrt()
    eps = randn_tensor(x.shape, generators, x.dtype)
    return broadcast_like(ratio, x) * x + broadcast_like(spread, x) * eps
