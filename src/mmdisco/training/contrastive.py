"""Contrastive loss: every sound of a group is scored against every video of the group.

Cross-entropy of real pairs against recombined ones learns slowly at first: each negative pair costs
two encodings and carries little information. A discriminator with dot products encodes each
modality once and multiplies, so k clips give k positive and k (k − 1) negative pairs at the cost of
k. The loss is the same in expectation, and its logit converges to the same
log p(x, y | c) / p(x | c) p(y | c); only the dot products are trained.

Pretraining minimises it alone, and ordinary training continues from there. As a third term it stays
throughout the training, so that the paper's losses do not undo what the pretraining found.
"""

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
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
from mmdisco.discriminators.correlation import pairwise
from mmdisco.errors import UserError
from mmdisco.io.shapes import PerSample
from mmdisco.training.batches import Batches, drop_captions
from mmdisco.training.config import ContrastiveConfig


@dataclass(frozen=True)
class ContrastiveLoss(Loss):
    """Cross-entropy of each positive pair of a group against the negatives with the same sound.

    Attributes:
        group_size: Pairs per group, at least 2.
        per_product_weight: Weight of the same loss for each dot product by itself. Products with a
            short time window separate most pairs by their onsets alone; without this term those
            with a long window get no signal to learn timbre and material.
    """

    group_size: int
    per_product_weight: float = 0.5

    def __post_init__(self) -> None:
        if self.group_size < 2:
            raise UserError(f"groups of {self.group_size}: give at least 2 pairs")

    def losses(
        self,
        discriminator: Discriminator,
        base: JointDenoiser,
        real: NoisedPairs,
        fake: NoisedPairs,
    ) -> Losses:
        """Replace discrimination by the contrastive loss; base models and fakes are not used.

        Raises:
            UserError: The discriminator has no dot products, or a part of the batch splits a group.
        """
        if len(real.pairs) % self.group_size:
            raise UserError(
                f"{len(real.pairs)} pairs in groups of {self.group_size}: give every process and "
                "micro-batch a multiple of the group size"
            )
        network, size = pairwise(discriminator), self.group_size
        products = network.pairwise_logits(real.z_t, real.level, real.pairs.text, size)
        loss, correct = _pairwise_cross_entropy(products.sum(1))
        own, _ = _pairwise_cross_entropy(products)
        loss = loss + self.per_product_weight * own.mean(1)
        zeros = torch.zeros(len(real.pairs))
        return Losses(loss.flatten(), AV(zeros, zeros), correct.flatten())

    def total(self, losses: Losses) -> PerSample:
        """Return the whole loss; there is no denoising term."""
        return losses.discrimination

    def settings(self) -> dict[str, float]:
        """Return both settings."""
        return {key: float(value) for key, value in asdict(self).items()}


def _pairwise_cross_entropy(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the cross-entropy of each sound with all videos, and the accuracy.

    Args:
        logits: (…, sounds, videos), a square; pairs on the diagonal are positive.
    """
    true = logits.diagonal(dim1=-2, dim2=-1)
    others = logits.shape[-1] - 1
    wrong = (softplus(logits).sum(-1) - softplus(true)) / others
    below = ((logits < 0).sum(-1) - (true < 0).long()) / others
    return softplus(-true) + wrong, ((true > 0).float() + below) / 2


@dataclass(frozen=True)
class CaptionGroups(PairSource):
    """Real pairs in groups of one meaning, so that only the pairing identifies the positives.

    Attributes:
        pairs: All real pairs.
        rows: Rows of each meaning that a caption can have; at least ``size`` of each.
        null: The encoded empty caption, batch size 1.
        size: Pairs per group.
        uncaptioned: Share of the groups that are random pairs with the empty caption; they differ
            in everything and are learnt first.
    """

    pairs: Pairs
    rows: tuple[Tensor, ...]
    null: AV[Conditioning]
    size: int
    uncaptioned: float

    @staticmethod
    def of(
        pairs: Pairs,
        keys: Sequence[Hashable],
        null: AV[Conditioning],
        config: ContrastiveConfig,
    ) -> "CaptionGroups":
        """Group rows by the meaning of their captions; meanings with too few captions are left out.

        Raises:
            UserError: There are fewer pairs than a group, or no meaning has captions for one.
        """
        size, uncaptioned = config.group_size, config.uncaptioned_fraction
        rows = tuple(torch.tensor(one) for one in rows_by_key(keys).values() if len(one) >= size)
        if len(pairs) < size or (uncaptioned < 1 and not rows):
            raise UserError(
                f"no {size} pairs have captions of one meaning: give smaller groups, or "
                "uncaptioned ones alone (1)"
            )
        return CaptionGroups(pairs, rows, null, size, uncaptioned)

    def draw(self, count: int, generator: Generator) -> Pairs:
        """Draw ``count`` pairs, a multiple of ``size``, group by group; random ones come first."""
        groups = count // self.size
        count_uncaptioned = round(self.uncaptioned * groups)
        members = [
            torch.randperm(len(self.pairs), generator=generator)[: self.size]
            for _ in range(count_uncaptioned)
        ]
        members += [self._of_one_meaning(generator) for _ in range(groups - count_uncaptioned)]
        drawn = select_pairs(self.pairs, torch.cat(members))
        # one wording for a whole group, so that only the pairing identifies the positives
        first = torch.arange(groups).repeat_interleave(self.size) * self.size
        shared = drawn.cond.map(lambda one: one.take(first))
        dropped = torch.arange(len(drawn)) < count_uncaptioned * self.size
        cond = each(lambda own, null: drop_captions(own, null, dropped), shared, self.null)
        return Pairs(drawn.z_0, cond)

    @cached_property
    def _likely(self) -> Tensor:
        return torch.tensor([float(len(one)) for one in self.rows])

    def _of_one_meaning(self, generator: Generator) -> Tensor:
        rows = self.rows[int(torch.multinomial(self._likely, 1, generator=generator))]
        return rows[torch.randperm(len(rows), generator=generator)[: self.size]]


@dataclass(frozen=True)
class GroupedNoiseLevels(NoiseLevelSampler):
    """Distribution whose draws are the same for all pairs of a group.

    Attributes:
        group_size: Pairs per group.
    """

    group_size: int = 1

    def draw(self, count: int, generator: Generator) -> NoiseLevelDraw:
        """Draw one level per group and repeat it; ``count`` is a multiple of ``group_size``."""
        drawn = super().draw(count // self.group_size, generator)
        return NoiseLevelDraw(
            drawn.levels.map(self._repeated),
            drawn.u.repeat_interleave(self.group_size),
            drawn.weight.repeat_interleave(self.group_size),
        )

    def _repeated(self, level: NoiseLevel) -> NoiseLevel:
        parts = (level.t, level.alpha, level.sigma)
        return NoiseLevel(*(one.repeat_interleave(self.group_size) for one in parts))


@dataclass(frozen=True)
class ContrastiveTerm:
    """Third term of a training's loss, on batches of its own.

    Attributes:
        loss: Loss of the groups.
        weight: Factor of its mean over the groups.
        batches: Noised batches of the groups.
        groups: Real pairs, group by group.
    """

    loss: ContrastiveLoss
    weight: float
    batches: Batches
    groups: PairSource

    def noised(self, step: int) -> tuple[NoiseLevelDraw, NoisedPairs]:
        """Draw the noised groups of a step, from a stream that neither real nor fake pairs use."""
        return self.batches.real(2 * self.batches.config.steps + step, self.groups)

    def settings(self) -> dict[str, float]:
        """Return the settings that a resumed checkpoint must share."""
        settings = {"weight": self.weight, **self.loss.settings()}
        return {f"contrastive_{name}": value for name, value in settings.items()}
