"""Noised batches of a run. Step k draws every random number from (seed, k) alone."""

from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from mmdisco.core.av import AV, each
from mmdisco.core.denoiser import Conditioning
from mmdisco.core.losses import NoisedPairs
from mmdisco.core.noise import NoiseLevel
from mmdisco.core.noise_levels import NoiseLevelDraw, NoiseLevelSampler
from mmdisco.core.pairs import PairSource
from mmdisco.core.rng import seeded_generator
from mmdisco.training.config import TrainerConfig


@dataclass(frozen=True)
class Batches:
    """Global batch of each step, the same in every process.

    Attributes:
        levels: Distribution of the noise levels.
        config: Sizes, seed, period and caption dropout.
        null: The encoded empty caption, batch size 1.
    """

    levels: NoiseLevelSampler
    config: TrainerConfig
    null: AV[Conditioning]

    def real(self, step: int, source: PairSource) -> tuple[NoiseLevelDraw, NoisedPairs]:
        """Draw the noised real pairs of a step, and return how their levels were drawn."""
        period = self.config.cache_period
        generator = seeded_generator(self.config.seed, step % period if period else step)
        draw = self.levels.draw(self.config.batch_size, generator)
        return draw, self._noised(source, draw.levels, generator)

    def fake(self, step: int, source: PairSource, levels: AV[NoiseLevel]) -> NoisedPairs:
        """Draw the fake pairs of a step at the levels of the real ones."""
        # a stream that no real batch draws from
        generator = seeded_generator(self.config.seed, self.config.steps + step)
        return self._noised(source, levels, generator)

    def _noised(
        self, source: PairSource, level: AV[NoiseLevel], generator: Generator
    ) -> NoisedPairs:
        pairs = source.draw(self.config.batch_size, generator)
        eps = pairs.z_0.map(lambda x: torch.randn(x.shape, generator=generator))
        dropped = torch.rand(len(pairs), generator=generator) < self.config.caption_dropout
        cond = each(lambda own, null: drop_captions(own, null, dropped), pairs.cond, self.null)
        return NoisedPairs(replace(pairs, cond=cond), eps, level)


def drop_captions(cond: Conditioning, null: Conditioning, dropped: Tensor) -> Conditioning:
    """Replace the caption of each pair by the empty one where ``dropped``."""

    def mixed(own: Tensor, empty: Tensor) -> Tensor:
        return torch.where(dropped.reshape(-1, *[1] * (own.ndim - 1)), empty, own)

    embeds = tuple(mixed(own, empty) for own, empty in zip(cond.embeds, null.embeds, strict=True))
    return Conditioning(mixed(cond.pooled, null.pooled), embeds)


def rows_of(noised: NoisedPairs, rows: slice) -> NoisedPairs:
    """Select rows of a noised batch, as views."""

    def cond(one: Conditioning) -> Conditioning:
        return Conditioning(one.pooled[rows], tuple(embeds[rows] for embeds in one.embeds))

    pairs = replace(
        noised.pairs, z_0=noised.pairs.z_0.map(lambda x: x[rows]), cond=noised.pairs.cond.map(cond)
    )
    level = noised.level.map(lambda one: NoiseLevel(one.t[rows], one.alpha[rows], one.sigma[rows]))
    return NoisedPairs(pairs, noised.eps.map(lambda x: x[rows]), level)
