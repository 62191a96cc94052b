"""Sampling of MM-Diffusion as it is released: 20 evaluations at equal steps of the log-SNR.

The general sampler with the release's own coupling, spacing and solver, which is DPM-Solver++ in
its singlestep form with bounded samples:

    x_τ = (σ_τ/σ_s) x_s − α_τ φ m_0 + (h_τ/h_k) α_τ w (m_k − m_0)

from the level s at which a step begins to any later level τ, with λ = ln(α/σ), h_τ = λ_τ − λ_s,
φ = e^(−h_τ) − 1 and m_k the predicted x_0 at the last level visited, h_k = λ_k − λ_s;
w = φ/h_τ + 1 in a step of order 3 and −φ/2 in one of order 2 (Lu et al. 2022, arXiv:2211.01095,
Section 4.2). At the first level of a step the last term vanishes. The levels inside a step are
levels of the run like any other, so every step of the run is one evaluation. Knows no network.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional
from typing_extensions import override

from mmdisco.core.av import AV, each
from mmdisco.core.coupling import LevelCoupling
from mmdisco.core.denoiser import Conditioning, JointDenoiser
from mmdisco.core.noise import NoiseLevel, NoiseSchedule
from mmdisco.core.sampler import Sampler, TimestepSpacing
from mmdisco.core.schedulers import Solver, SolverState
from mmdisco.errors import UserError
from mmdisco.io.shapes import Latent, PerSample, Table


@dataclass(frozen=True)
class SinglestepDPMSolver(Solver):
    """DPM-Solver++ singlestep of order 3, on levels that may lie anywhere.

    diffusers' solver of that name has another formula at the inner levels, and ends at x_0.

    Attributes:
        end: Level at which the last step ends, a batch of one; a little noisy.
        quantile: Quantile of |x_0| of a sample beyond which x_0 is clipped, before it is scaled to
            [−1, 1] (dynamic thresholding; Saharia et al. 2022, Section 2.3).
    """

    end: NoiseLevel
    quantile: float = 0.995

    @override
    def begin(self, levels: NoiseLevel) -> SolverState:
        alphas = [*levels.alpha.tolist(), *self.end.alpha.tolist()]
        sigmas = [*levels.sigma.tolist(), *self.end.sigma.tolist()]
        stops = [_Stop(alpha, sigma) for alpha, sigma in zip(alphas, sigmas, strict=True)]
        return _Run(stops, orders(len(stops) - 1), self.quantile)


def orders(evaluations: int) -> list[int]:
    """Return the order of each step, which is also its number of evaluations.

    All but the last, or the last two, are of order 3: x_0 bends most at the end.
    """
    rest = evaluations % 3
    threes = evaluations // 3 - (rest == 0)
    lower = [2, 1] if rest == 0 else [rest]
    return [3] * threes + lower


@dataclass(frozen=True)
class _Stop:
    alpha: float
    sigma: float

    @property
    def log_ratio(self) -> float:
        return math.log(self.alpha / self.sigma)


@dataclass
class _Run(SolverState):
    stops: list[_Stop]
    orders: list[int]
    quantile: float
    # state of the current step
    start: int = 0
    x: Tensor | None = None
    seen: list[Tensor] = field(default_factory=list[Tensor])

    @override
    def step(self, index: int, x_t: Latent, eps: Latent, noise: list[Generator]) -> Latent:
        here = self.stops[index]
        predicted = (x_t - here.sigma * eps) / here.alpha
        self.seen.append(_bound(predicted, self.quantile))
        if self.x is None:
            self.x = x_t
        reached = self._at(index, self.x)
        if len(self.seen) == self.orders[0]:
            self.orders = self.orders[1:]
            self.start, self.x, self.seen = index + 1, None, []
        return reached

    @override
    def copy(self) -> SolverState:
        # tensors are never written into, so the lists alone are copied
        forked = copy.copy(self)
        forked.seen = [*self.seen]
        return forked

    @override
    def take(self, rows: Sequence[int]) -> SolverState:
        taken, chosen = copy.copy(self), list(rows)
        taken.x = None if self.x is None else self.x[chosen]
        taken.seen = [one[chosen] for one in self.seen]
        return taken

    def _at(self, index: int, x: Latent) -> Latent:
        start, here, there = self.stops[self.start], self.stops[index], self.stops[index + 1]
        span = there.log_ratio - start.log_ratio
        decay = math.expm1(-span)
        first = self.seen[0]
        reached = (there.sigma / start.sigma) * x - (there.alpha * decay) * first
        if len(self.seen) == 1:
            return reached
        weight = decay / span + 1 if self.orders[0] == 3 else -decay / 2
        weight *= there.alpha * span / (here.log_ratio - start.log_ratio)
        return reached + weight * (self.seen[-1] - first)


def _bound(x_0: Latent, quantile: float) -> Latent:
    """Clip ``x_0`` at a quantile of its own magnitude, and scale it to [−1, 1]."""
    bound = torch.quantile(x_0.abs().flatten(1), quantile, dim=1).clamp(min=1)
    bound = bound.reshape(-1, *[1] * (x_0.ndim - 1))
    return x_0.clamp(-bound, bound) / bound


EVALUATIONS = 20


@dataclass(frozen=True)
class ContinuousPath(LevelCoupling):
    """Coupling with ln(α²/σ²) linear in u, from the first row (0) to the last (1).

    Between the rows of the VP tables ln α is linear in t, as in DPM-Solver, so a time need not be
    whole.

    Attributes:
        schedules: Noise schedule of either modality.
    """

    schedules: AV[NoiseSchedule]

    @override
    def levels(self, u: PerSample) -> AV[NoiseLevel]:
        return self.schedules.map(lambda schedule: _level(schedule, u.to(torch.float64)))


def _level(schedule: NoiseSchedule, u: PerSample) -> NoiseLevel:
    cleanest, noisiest = schedule.levels().log_snr[[0, -1]]
    log_snr = cleanest + u * (noisiest - cleanest)
    log_alpha = functional.logsigmoid(log_snr) / 2
    t = np.interp(
        log_alpha.numpy(), schedule.alphas.log().flip(0).numpy(), schedule.times.flip(0).numpy()
    )
    # a row that is met exactly must not fall below itself by rounding: ``AtTrainedTimes`` would
    # take the row before
    return NoiseLevel(torch.from_numpy(t.round(9)), log_alpha.exp(), torch.sigmoid(-log_snr).sqrt())


def _row(schedule: NoiseSchedule, level: NoiseLevel) -> NoiseLevel:
    return level if level.is_clean else schedule.level(level.t.floor())


@dataclass(frozen=True)
class MMDiffusionSpacing(TimestepSpacing):
    """Spacing in equal steps of u without the end: u = k/N for k = N, …, 1."""

    @override
    def stops(self, path: LevelCoupling, steps: int) -> Table:
        if steps < 1:
            raise UserError(f"{steps} sampling steps: ask for at least 1")
        return torch.arange(steps, 0, -1, dtype=torch.float64) / steps


@dataclass(frozen=True)
class AtTrainedTimes(JointDenoiser):
    """Denoiser evaluated at the last row of its schedule that is no noisier than the level.

    The released sampler steps between levels of any time, but evaluates network and discriminator
    at whole ones, and takes σ of the guidance from there.

    Attributes:
        denoiser: The denoiser, guided or not.
        schedules: Noise schedules with times 0, 1, 2, ….
    """

    denoiser: JointDenoiser
    schedules: AV[NoiseSchedule]

    @override
    def predict_noise(
        self, z_t: AV[Tensor], level: AV[NoiseLevel], cond: AV[Conditioning]
    ) -> AV[Tensor]:
        return self.denoiser.predict_noise(z_t, each(_row, self.schedules, level), cond)


def released_sampler(schedules: AV[NoiseSchedule], evaluations: int = EVALUATIONS) -> Sampler:
    """Build the sampler of the release, for a denoiser ``AtTrainedTimes``.

    Its last latents keep the noise of the schedule's first row, σ = 0.01, as the released ones do.

    Args:
        schedules: Noise schedules of MM-Diffusion.
        evaluations: Evaluations of the network.

    Raises:
        UserError: Fewer than one evaluation.
    """
    path = ContinuousPath(schedules)
    ends = path.levels(torch.zeros(1, dtype=torch.float64))
    return Sampler(path, ends.map(SinglestepDPMSolver), evaluations, MMDiffusionSpacing())
