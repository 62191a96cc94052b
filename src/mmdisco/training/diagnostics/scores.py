"""What logits of real pairs and of others say. Pure: two vectors in, numbers out.

Real and other pairs count as equally likely, however many there are of each, so sigmoid(h) is the
probability of a real pair that an exact log ratio h would give.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import softplus

BINS: Final = 10


@dataclass(frozen=True)
class Bin:
    """Pairs that are told to be real with about the same probability.

    Attributes:
        told: Mean of sigmoid(h) over them.
        real: Share of them that is real.
        share: Of all pairs.
    """

    told: float
    real: float
    share: float


def accuracy(real: Tensor, other: Tensor) -> float:
    """Mean share of right signs on both sides, for logits (n,) and (m,)."""
    return float(((real > 0).double().mean() + (other < 0).double().mean()) / 2)


def ranking(real: Tensor, other: Tensor) -> float:
    """P(real > other) + P(real = other) / 2 over all couples: the area under the ROC curve."""
    ordered = other.contiguous().sort().values
    below = torch.searchsorted(ordered, real.contiguous(), right=False)
    not_above = torch.searchsorted(ordered, real.contiguous(), right=True)
    return float((below + not_above).double().mean()) / (2 * len(other))


def cross_entropy(real: Tensor, other: Tensor) -> float:
    """E[softplus(−h)] + E[softplus(h)]: 2 ln 2 for a network that says nothing."""
    return float(softplus(-real.double()).mean() + softplus(other.double()).mean())


def reliability(real: Tensor, other: Tensor, bins: int = BINS) -> tuple[Bin, ...]:
    """Bins of equal width in sigmoid(h), from 0 to 1; empty ones are left out."""
    told = torch.cat([real, other]).double().sigmoid()
    label = torch.cat([torch.ones(len(real)), torch.zeros(len(other))]).double()
    weight = torch.where(label > 0, 0.5 / len(real), 0.5 / len(other))
    place = (told * bins).long().clamp(max=bins - 1)
    sums = torch.zeros(3, bins, dtype=torch.float64)
    sums.index_add_(1, place, torch.stack([weight, weight * told, weight * label]))
    return tuple(
        Bin(mean / share, right / share, share)
        for share, mean, right in sums.T.tolist()
        if share > 0
    )


def calibration_error(bins: Sequence[Bin]) -> float:
    """Σ share · |told − real|, the expected calibration error (Guo et al. 2017, Eq. 3)."""
    return sum(one.share * abs(one.told - one.real) for one in bins)
