"""Contrast within a batch: every sound of a group is held against every video of it.

Cross-entropy of real pairs against pairs put together anew is slow to begin: each wrong pair costs
two readings and says little. A discriminator with products reads either side once and multiplies,
so k clips give k true pairs and k (k − 1) wrong ones for the price of k. The loss is the same in
expectation, and its logit goes to the same log p(x, y | c) / p(x | c) p(y | c); only the products
are trained, and the ordinary training goes on from there.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Generator, Tensor
from torch.nn.functional import softplus

from mmdisco.core.av import AV, each
from mmdisco.core.denoiser import Conditioning, JointDenoiser
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.losses import Loss, Losses, NoisedPairs
from mmdisco.core.noise import NoiseLevel
from mmdisco.core.noise_levels import NoiseLevelDraw, NoiseLevelSampler
from mmdisco.core.pairs import Pairs, PairSource
from mmdisco.data.pairing import rows_by_key, select_pairs
from mmdisco.errors import UserError
from mmdisco.shapes import PerSample
from mmdisco.training.batches import drop_captions


@dataclass(frozen=True)
class ContrastiveLoss(Loss):
    """Cross-entropy of each true pair of a group against the wrong ones of its sound.

    Attributes:
        group: Pairs in a group, at least 2.
        alone: Weight of the same loss for each product by itself. Those of short reach tell most
            pairs by their instants; without it nothing makes those of long reach find what a thing
            is made of.
    """

    group: int
    alone: float = 0.5

    def __post_init__(self) -> None:
        if self.group < 2:
            raise UserError(f"groups of {self.group}: give at least 2 pairs")

    def losses(
        self,
        discriminator: Discriminator,
        base: JointDenoiser,
        real: NoisedPairs,
        fake: NoisedPairs,
    ) -> Losses:
        """In the place of discrimination; neither base nor fakes are asked.

        Raises:
            UserError: The discriminator has no products, or a part of the batch no whole groups.
        """
        if len(real.pairs) % self.group:
            raise UserError(
                f"{len(real.pairs)} pairs in groups of {self.group}: give a batch size, shared out "
                "over processes and parts, that is a multiple of the group"
            )
        text = real.pairs.cond.map(lambda one: one.pooled)
        products = discriminator.pairwise_logits(real.z_t, real.level, text, self.group)
        loss, correct = _told_apart(products.sum(1))
        alone, _ = _told_apart(products)
        zeros = torch.zeros(len(real.pairs))
        return Losses(
            (loss + self.alone * alone.mean(1)).flatten(), AV(zeros, zeros), correct.flatten()
        )

    def total(self, losses: Losses) -> PerSample:
        """All of it."""
        return losses.discrimination

    def settings(self) -> dict[str, float]:
        """Both."""
        return {"group": float(self.group), "alone": self.alone}


def _told_apart(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of each sound with all videos, and the share of right answers.

    Args:
        logits: (…, sounds, videos), as many; those on the diagonal belong together.
    """
    true = logits.diagonal(dim1=-2, dim2=-1)
    others = logits.shape[-1] - 1
    wrong = (softplus(logits).sum(-1) - softplus(true)) / others
    below = ((logits < 0).sum(-1) - (true < 0).long()) / others
    return softplus(-true) + wrong, ((true > 0).float() + below) / 2


@dataclass(frozen=True)
class CaptionGroups(PairSource):
    """Real pairs in groups that nothing but the pairing tells from pairs put together anew.

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
    ) -> "CaptionGroups":
        """Group rows by what their captions say; what too few captions say is left out.

        Raises:
            UserError: There are fewer pairs, or nothing is said by ``size`` captions.
        """
        rows = tuple(torch.tensor(one) for one in rows_by_key(keys).values() if len(one) >= size)
        if len(pairs) < size or (strangers < 1 and not rows):
            raise UserError(
                f"no {size} pairs have captions of one meaning: give smaller groups, or strangers "
                "alone (1)"
            )
        return CaptionGroups(pairs, rows, null, size, strangers)

    def draw(self, count: int, generator: Generator) -> Pairs:
        """``count`` pairs, a multiple of ``size``, group by group; strangers come first."""
        groups = count // self.size
        strange = round(self.strangers * groups)
        members = [
            torch.randperm(len(self.pairs), generator=generator)[: self.size]
            for _ in range(strange)
        ]
        members += [self._of_one_meaning(generator) for _ in range(groups - strange)]
        drawn = select_pairs(self.pairs, torch.cat(members))
        # one wording for all of a group: the pairing alone may tell
        first = torch.arange(groups).repeat_interleave(self.size) * self.size
        told = drawn.cond.map(lambda one: one.take(first))
        nameless = torch.arange(len(drawn)) < strange * self.size
        return Pairs(
            drawn.z_0, each(lambda own, null: drop_captions(own, null, nameless), told, self.null)
        )

    @cached_property
    def _likely(self) -> Tensor:
        return torch.tensor([float(len(one)) for one in self.rows])

    def _of_one_meaning(self, generator: Generator) -> Tensor:
        rows = self.rows[int(torch.multinomial(self._likely, 1, generator=generator))]
        return rows[torch.randperm(len(rows), generator=generator)[: self.size]]


@dataclass(frozen=True)
class GroupedNoiseLevels(NoiseLevelSampler):
    """A law whose draws are the same for all pairs of a group.

    Attributes:
        group: Pairs in a group.
    """

    group: int = 1

    def draw(self, count: int, generator: Generator) -> NoiseLevelDraw:
        """``count``, a multiple of ``group``; each of a group's own, repeated."""
        drawn = super().draw(count // self.group, generator)
        return NoiseLevelDraw(
            drawn.levels.map(self._repeated),
            drawn.u.repeat_interleave(self.group),
            drawn.weight.repeat_interleave(self.group),
        )

    def _repeated(self, level: NoiseLevel) -> NoiseLevel:
        parts = (level.t, level.alpha, level.sigma)
        return NoiseLevel(*(one.repeat_interleave(self.group) for one in parts))
