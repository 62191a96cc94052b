"""Which noise levels a training batch sees. Knows paths; knows no network.

u runs along the path of the sampler. The shares of a batch decide what the discriminator can later
be used for: paired levels for joint sampling, one clean side for one-sided generation, independent
levels for both and for any path.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from mmdisco.core.av import AV
from mmdisco.core.coupling import LevelCoupling
from mmdisco.core.noise import NoiseLevel
from mmdisco.errors import UserError
from mmdisco.shapes import PerSample


class TimestepSampler(ABC):
    """A law of u on [0, 1]."""

    @abstractmethod
    def quantile(self, share: PerSample) -> PerSample:
        """The u below which ``share`` of the draws lie."""

    @abstractmethod
    def weight(self, u: PerSample) -> PerSample:
        """Factor on the loss of a draw; 1 where the emphasis on some u is the purpose."""

    @abstractmethod
    def observe(self, u: PerSample, loss: PerSample) -> None:
        """Learn from the losses of a step."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """What was learnt, to be kept in a checkpoint."""

    @abstractmethod
    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from a ``state``."""


class PowerSampler(TimestepSampler):
    """u = (uniform)^power: 1 is uniform, 2 dwells on low noise."""

    def __init__(self, power: float = 1.0) -> None:
        if not power > 0:
            raise UserError(f"time power {power}: give a number above 0 (1 is uniform)")
        self._power = power

    def quantile(self, share: PerSample) -> PerSample:
        """share^power."""
        return share**self._power

    def weight(self, u: PerSample) -> PerSample:
        """1: more weight at low noise is what a power above 1 is for."""
        return torch.ones_like(u)

    def observe(self, u: PerSample, loss: PerSample) -> None:
        """Nothing to learn."""

    def state(self) -> dict[str, Tensor]:
        """Nothing to keep."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Nothing to restore."""


class LossSecondMomentSampler(TimestepSampler):
    """u in proportion to √E[loss²], the loss weighted back (Nichol & Dhariwal 2021, Eq. 18).

    The expected gradient is that of uniform u; its variance is lower once the bins are known.

    Args:
        bins: Equal parts of [0, 1], each with a running mean of its squared loss.
        memory: Decay of that mean for one observation.
        floor: Share of the draws that stay uniform, so no part is ever unseen.
    """

    def __init__(self, bins: int = 32, memory: float = 0.98, floor: float = 0.1) -> None:
        self._squares = torch.ones(bins, dtype=torch.float64)
        self._memory = memory
        self._floor = floor

    def _shares(self) -> Tensor:
        spread = self._squares.sqrt()
        return (1 - self._floor) * spread / spread.sum() + self._floor / len(spread)

    def quantile(self, share: PerSample) -> PerSample:
        """Piecewise linear through the bins' shares."""
        edges = torch.cat([torch.zeros(1, dtype=torch.float64), self._shares().cumsum(0)])
        edges[-1] = 1.0
        index = self._bin(share, edges)
        within = (share - edges[index]) / (edges[index + 1] - edges[index])
        return (index + within) / len(self._squares)

    def weight(self, u: PerSample) -> PerSample:
        """Uniform density over the density of the draws."""
        bins = len(self._squares)
        return 1 / (bins * self._shares()[(u * bins).long().clamp(0, bins - 1)])

    def observe(self, u: PerSample, loss: PerSample) -> None:
        """Update the running means, one observation after the other."""
        bins = len(self._squares)
        chosen = (u * bins).long().clamp(0, bins - 1)
        count = torch.bincount(chosen, minlength=bins)
        total = torch.zeros(bins, dtype=torch.float64)
        total.index_add_(0, chosen, loss.double().square())
        keep = self._memory**count
        self._squares = keep * self._squares + (1 - keep) * total / count.clamp(min=1)

    def state(self) -> dict[str, Tensor]:
        """The running means."""
        return {"squares": self._squares}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take over the running means."""
        self._squares = state["squares"]

    @staticmethod
    def _bin(share: Tensor, edges: Tensor) -> Tensor:
        return torch.searchsorted(edges, share, right=True).clamp(1, len(edges) - 1) - 1


@dataclass(frozen=True)
class NoiseLevelDraw:
    """The levels of one batch, and how much each sample's loss counts."""

    levels: AV[NoiseLevel]
    u: PerSample
    weight: PerSample


@dataclass(frozen=True)
class NoiseLevelSampler:
    """How the two noise levels of a training pair are drawn.

    Attributes:
        path: The path that the sampler will walk.
        time: Law of u.
        independent: Share of pairs whose levels are drawn apart.
        one_sided: Share of pairs with one side clean, either side in turn.
    """

    path: LevelCoupling
    time: TimestepSampler
    independent: float = 0.0
    one_sided: float = 0.0

    def __post_init__(self) -> None:
        shares = (self.independent, self.one_sided)
        if min(shares) < 0 or sum(shares) > 1:
            raise UserError(
                f"shares of independent ({self.independent}) and one-sided ({self.one_sided}) "
                "levels: give two numbers from 0, together at most 1"
            )

    def draw(self, count: int, generator: Generator) -> NoiseLevelDraw:
        """Stratified over the batch: the k-th sample draws from the k-th part of [0, 1]."""
        u = self._stratified(count, generator)
        levels = self.path.levels(u)
        kind = torch.rand(count, generator=generator, dtype=torch.float64)
        if self.independent:
            other = self._stratified(count, generator)
            other = other[torch.randperm(count, generator=generator)]
            apart = _chosen(kind < self.independent, self.path.levels(other).video, levels.video)
            levels = AV(levels.audio, apart)
        if self.one_sided:
            clean = NoiseLevel.clean(count)
            # the two ends of the unit interval's upper part: a clean video, a clean audio
            start, middle = 1 - self.one_sided, 1 - self.one_sided / 2
            levels = AV(
                audio=_chosen(kind >= middle, clean, levels.audio),
                video=_chosen((kind >= start) & (kind < middle), clean, levels.video),
            )
        return NoiseLevelDraw(levels, u, self.time.weight(u))

    def _stratified(self, count: int, generator: Generator) -> Tensor:
        jitter = torch.rand(count, generator=generator, dtype=torch.float64)
        return self.time.quantile((torch.arange(count) + jitter) / count)


def _chosen(where: Tensor, yes: NoiseLevel, no: NoiseLevel) -> NoiseLevel:
    return NoiseLevel(
        torch.where(where, yes.t, no.t),
        torch.where(where, yes.alpha, no.alpha),
        torch.where(where, yes.sigma, no.sigma),
    )
