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
from mmdisco.io.shapes import PerSample


class TimestepSampler(ABC):
    """Distribution of u on [0, 1]; one that learns nothing has no state."""

    @abstractmethod
    def quantile(self, share: PerSample) -> PerSample:
        """Return the quantile function: the u below which ``share`` of the draws lie."""

    def weight(self, u: PerSample) -> PerSample:
        """Return the loss weight of a draw; 1 where emphasising some u is the purpose."""
        return torch.ones_like(u)

    def observe(self, u: PerSample, loss: PerSample) -> None:  # noqa: B027 - most learn nothing
        """Update the distribution from the losses of a step."""

    def state(self) -> dict[str, Tensor]:
        """Return the learnt state for a checkpoint."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:  # noqa: B027 - most have none
        """Load a ``state``."""


class PowerSampler(TimestepSampler):
    """u = (uniform)^power: 1 is uniform, 2 favours low noise."""

    def __init__(self, power: float = 1.0) -> None:
        if not power > 0:
            raise UserError(f"time power {power}: give a number above 0 (1 is uniform)")
        self._power = power

    @override
    def quantile(self, share: PerSample) -> PerSample:
        return share**self._power


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
        index = torch.searchsorted(edges, share, right=True).clamp(1, len(edges) - 1) - 1
        within = (share - edges[index]) / (edges[index + 1] - edges[index])
        return (index + within) / len(self._squares)

    def weight(self, u: PerSample) -> PerSample:
        """Return the uniform density over the density of the draws."""
        return 1 / (len(self._squares) * self._shares()[self._bins(u)])

    def observe(self, u: PerSample, loss: PerSample) -> None:
        """Update the running means, one observation after the other."""
        bins, chosen = len(self._squares), self._bins(u)
        count = torch.bincount(chosen, minlength=bins)
        total = torch.zeros(bins, dtype=torch.float64)
        total.index_add_(0, chosen, loss.double().square())
        keep = self._memory**count
        self._squares = keep * self._squares + (1 - keep) * total / count.clamp(min=1)

    @override
    def state(self) -> dict[str, Tensor]:
        return {"squares": self._squares}

    @override
    def restore(self, state: dict[str, Tensor]) -> None:
        self._squares = state["squares"]

    def _bins(self, u: PerSample) -> Tensor:
        bins = len(self._squares)
        return (u * bins).long().clamp(0, bins - 1)


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
