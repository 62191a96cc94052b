"""Sampling of noise levels for training batches; independent of networks.

u runs along the sampler's coupling. The fractions of a batch decide what the discriminator can
later be used for: coupled levels for joint sampling, one clean side for one-sided generation,
independent levels for both and for any coupling.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from typing_extensions import override

from mmdisco.core.av import AV
from mmdisco.core.coupling import LevelCoupling
from mmdisco.core.noise import NoiseLevel
from mmdisco.errors import UserError
from mmdisco.shapes import PerSample


class TimestepSampler(ABC):
    """Distribution of u on [0, 1]."""

    @abstractmethod
    def quantile(self, share: PerSample) -> PerSample:
        """Return the quantile function: the u below which ``share`` of the draws lie."""

    @abstractmethod
    def weight(self, u: PerSample) -> PerSample:
        """Return the loss weight of a draw; 1 where emphasising some u is the purpose."""

    @abstractmethod
    def observe(self, u: PerSample, loss: PerSample) -> None:
        """Update the distribution from the losses of a step."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Return the learnt state for a checkpoint."""

    @abstractmethod
    def restore(self, state: dict[str, Tensor]) -> None:
        """Load a ``state``."""


class PowerSampler(TimestepSampler):
    """u = (uniform)^power: 1 is uniform, 2 favours low noise."""

    def __init__(self, power: float = 1.0) -> None:
        if not power > 0:
            raise UserError(f"time power {power}: give a number above 0 (1 is uniform)")
        self._power = power

    def quantile(self, share: PerSample) -> PerSample:
        """Return share^power."""
        return share**self._power

    def weight(self, u: PerSample) -> PerSample:
        """Return 1: more weight at low noise is the purpose of a power above 1."""
        return torch.ones_like(u)

    @override
    def observe(self, u: PerSample, loss: PerSample) -> None:
        pass

    @override
    def state(self) -> dict[str, Tensor]:
        return {}

    @override
    def restore(self, state: dict[str, Tensor]) -> None:
        pass


class LossSecondMomentSampler(TimestepSampler):
    """u in proportion to √E[loss²], with importance weights (Nichol & Dhariwal 2021, Eq. 18).

    The expected gradient is that of uniform u; its variance is lower once the bins are
    estimated.

    Args:
        bins: Equal parts of [0, 1], each with a running mean of its squared loss.
        memory: Decay of that mean per observation.
        floor: Fraction of the draws that stay uniform, so that no bin is ever left out.
    """

    def __init__(self, bins: int = 32, memory: float = 0.98, floor: float = 0.1) -> None:
        self._squares = torch.ones(bins, dtype=torch.float64)
        self._memory = memory
        self._floor = floor

    def _shares(self) -> Tensor:
        spread = self._squares.sqrt()
        return (1 - self._floor) * spread / spread.sum() + self._floor / len(spread)

    def quantile(self, share: PerSample) -> PerSample:
        """Interpolate linearly through the cumulative fractions of the bins."""
        edges = torch.cat([torch.zeros(1, dtype=torch.float64), self._shares().cumsum(0)])
        edges[-1] = 1.0
        index = self._bin(share, edges)
        within = (share - edges[index]) / (edges[index + 1] - edges[index])
        return (index + within) / len(self._squares)

    def weight(self, u: PerSample) -> PerSample:
        """Return the uniform density over the density of the draws."""
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
        """Return the running means."""
        return {"squares": self._squares}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Load the running means."""
        self._squares = state["squares"]

    @staticmethod
    def _bin(share: Tensor, edges: Tensor) -> Tensor:
        return torch.searchsorted(edges, share, right=True).clamp(1, len(edges) - 1) - 1


@dataclass(frozen=True)
class NoiseLevelDraw:
    """Levels of one batch, and the weight of each sample's loss."""

    levels: AV[NoiseLevel]
    u: PerSample
    weight: PerSample


@dataclass(frozen=True)
class NoiseLevelSampler:
    """Sampler of the two noise levels of a training pair.

    Attributes:
        path: The coupling that the sampler will follow.
        time: Distribution of u.
        independent: Fraction of pairs whose levels are drawn independently.
        one_sided: Fraction of pairs with one side clean, half of them audio, half video.
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
        """Draw levels stratified over the batch: sample k draws from part k of [0, 1]."""
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
