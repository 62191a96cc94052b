"""Contrast within a batch: every sound of a group is held against every video of it.

Cross-entropy of real pairs against pairs put together anew is slow to begin: each wrong pair costs
two readings and says little. A ``ProductFusion`` reads either side once and multiplies, so k clips
give k true pairs and k (k − 1) wrong ones for the price of k. The loss is the same in expectation,
so the logit goes towards the same log p(x, y | c) / p(x | c) p(y | c); only its products are
trained, and the ordinary training goes on from there.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Generator, Tensor
from torch.nn.functional import softplus

from mmdisco.av import AV, each
from mmdisco.discriminator.audio_video import AudioVideoDiscriminator
from mmdisco.discriminator.products import ProductFusion
from mmdisco.errors import UserError
from mmdisco.models import Conditioning
from mmdisco.schedule import NoiseLevel
from mmdisco.training.batches import without
from mmdisco.training.fitting import Schedule, Watch, fit
from mmdisco.training.levels import LevelLaw
from mmdisco.training.losses import NoisedPairs
from mmdisco.training.pairs import Pairs
from mmdisco.training.repaired import rows_by_key
from mmdisco.training.store import take

GROUPS: Final = 4  # a step
SIZE: Final = 16
STRANGERS: Final = 0.25


@dataclass(frozen=True)
class Groups:
    """Groups of real pairs that nothing but the pairing tells from pairs put together anew.

    Attributes:
        pairs: All of them.
        rows: The rows of each meaning that a caption can have; at least ``size`` of each.
        null: The encoded empty caption, batch size 1.
        size: Pairs in a group.
        strangers: Share of the groups that are any pairs at all, told by the empty caption; they
            differ in everything and are learnt from first.
    """

    pairs: Pairs
    rows: tuple[Tensor, ...]
    null: AV[Conditioning]
    size: int
    strangers: float

    @staticmethod
    def of(
        pairs: Pairs,
        keys: Sequence[Hashable],
        null: AV[Conditioning],
        size: int,
        strangers: float,
    ) -> "Groups":
        """Group rows by what their captions say; what too few captions say is left out.

        Raises:
            UserError: Nothing is said by ``size`` captions.
        """
        rows = tuple(torch.tensor(one) for one in rows_by_key(keys).values() if len(one) >= size)
        if not rows:
            raise UserError(f"no {size} pairs have captions of one meaning: give a smaller size")
        return Groups(pairs, rows, null, size, strangers)

    def draw(self, count: int, generator: Generator) -> Pairs:
        """``count`` groups one after the other, each of one caption; strangers come first."""
        strange = round(self.strangers * count)
        likely = torch.tensor([float(len(one)) for one in self.rows])
        chosen = torch.multinomial(likely, count, replacement=True, generator=generator)
        members = [
            self._some(self.rows[group], generator) if index >= strange else self._any(generator)
            for index, group in enumerate(chosen.tolist())
        ]
        drawn = take(self.pairs, torch.cat(members))
        # one wording for all of a group: the pairing alone may tell
        first = torch.arange(count).repeat_interleave(self.size) * self.size
        told = drawn.cond.map(lambda one: one.take(first))
        nameless = torch.arange(len(drawn)) < strange * self.size
        return Pairs(
            drawn.z_0, each(lambda own, null: without(own, null, nameless), told, self.null)
        )

    def noised(self, count: int, levels: LevelLaw, generator: Generator) -> NoisedPairs:
        """``count`` groups, all of a group at the same two noise levels."""
        pairs = self.draw(count, generator)
        level = levels.draw(count, generator).levels.map(self._repeated)
        eps = pairs.z_0.map(lambda x: torch.randn(x.shape, generator=generator))
        return NoisedPairs(pairs, eps, level)

    def _some(self, rows: Tensor, generator: Generator) -> Tensor:
        return rows[torch.randperm(len(rows), generator=generator)[: self.size]]

    def _any(self, generator: Generator) -> Tensor:
        return torch.randint(len(self.pairs), (self.size,), generator=generator)

    def _repeated(self, level: NoiseLevel) -> NoiseLevel:
        parts = (level.t, level.alpha, level.sigma)
        return NoiseLevel(*(one.repeat_interleave(self.size) for one in parts))


def contrast(network: AudioVideoDiscriminator, noised: NoisedPairs, size: int) -> Tensor:
    """Cross-entropy of the true pairs of each group against all others of it, a mean over groups.

    Args:
        network: With a ``ProductFusion``, whose products alone are asked.
        noised: Groups of ``size`` pairs, each of one caption and one pair of noise levels.
        size: Pairs in a group.

    Raises:
        UserError: The discriminator has no products.
    """
    if not isinstance(network.fusion, ProductFusion):
        raise UserError("contrast within a batch wants a discriminator with products in its fusion")
    text = noised.pairs.cond.map(lambda one: one.pooled)
    features, condition = network.features(noised.z_t, noised.level, text)
    logits = network.fusion.products.crosswise(features, condition, size)
    true = torch.eye(size, dtype=torch.bool, device=logits.device)
    return softplus(-logits[:, true]).mean() + softplus(logits[:, ~true]).mean()


def train_products(
    network: AudioVideoDiscriminator,
    groups: Groups,
    levels: LevelLaw,
    schedule: Schedule,
    path: Path,
    watch: Watch,
) -> None:
    """Train the products of a network in place, ``GROUPS`` groups a step, going on from ``path``.

    It keeps the last weights and not their average: they go on being trained.

    Raises:
        UserError: The discriminator has no products, or the checkpoint is of another training.
    """

    def loss_of(step: int, generator: Generator) -> Tensor:
        del step
        return contrast(network, groups.noised(GROUPS, levels, generator), groups.size)

    fit(network, loss_of, schedule, path, watch)
