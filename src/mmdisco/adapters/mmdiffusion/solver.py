"""DPM-Solver++ in its singlestep form with bounded samples, as MM-Diffusion is released with.

    x_τ = (σ_τ/σ_s) x_s − α_τ φ m_0 + (h_τ/h_k) α_τ w (m_k − m_0)

from the level s at which a step begins to any later level τ, with λ = ln(α/σ), h_τ = λ_τ − λ_s,
φ = e^(−h_τ) − 1 and m_k the predicted x_0 at the last level visited, h_k = λ_k − λ_s;
w = φ/h_τ + 1 in a step of order 3 and −φ/2 in one of order 2 (Lu et al. 2022, arXiv:2211.01095,
Section 4.2). At the first level of a step the last term vanishes. The levels inside a step are
levels of the run like any other, so every step of the run is one evaluation. Knows no model.
"""

import copy
import math
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor
from typing_extensions import override

from mmdisco.core.noise import NoiseLevel
from mmdisco.core.schedulers import Solver, SolverState
from mmdisco.shapes import Latent


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
