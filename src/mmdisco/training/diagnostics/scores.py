"""Scores of a binary classifier from the logits of real pairs and of others: pure functions.

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
    """Pairs of similar predicted probability.

    Attributes:
        predicted: Mean predicted probability sigmoid(h).
        real: Share of real pairs.
        share: Share of all pairs that are in the bin.
    """

    predicted: float
    real: float
    share: float


def accuracy(real: Tensor, other: Tensor) -> float:
    """Compute the balanced accuracy of the sign, for logits (n,) and (m,)."""
    return float(((real > 0).double().mean() + (other < 0).double().mean()) / 2)


def ranking(real: Tensor, other: Tensor) -> float:
    """Compute the area under the ROC curve, P(real > other) + P(real = other) / 2."""
    ordered = other.contiguous().sort().values
    below = torch.searchsorted(ordered, real.contiguous(), right=False)
    not_above = torch.searchsorted(ordered, real.contiguous(), right=True)
    return float((below + not_above).double().mean()) / (2 * len(other))


def cross_entropy(real: Tensor, other: Tensor) -> float:
    """Compute E[softplus(−h)] + E[softplus(h)]: 2 ln 2 for a constant logit of 0."""
    return float(softplus(-real.double()).mean() + softplus(other.double()).mean())


def reliability(real: Tensor, other: Tensor, bins: int = BINS) -> tuple[Bin, ...]:
    """Sort pairs into bins of equal width in sigmoid(h), from 0 to 1; empty bins are left out."""
    predicted = torch.cat([real, other]).double().sigmoid()
    label = torch.cat([torch.ones(len(real)), torch.zeros(len(other))]).double()
    weight = torch.where(label > 0, 0.5 / len(real), 0.5 / len(other))
    place = (predicted * bins).long().clamp(max=bins - 1)
    sums = torch.zeros(3, bins, dtype=torch.float64)
    sums.index_add_(1, place, torch.stack([weight, weight * predicted, weight * label]))
    return tuple(
        Bin(mean / share, right / share, share)
        for share, mean, right in sums.T.tolist()
        if share > 0
    )


def calibration_error(bins: Sequence[Bin]) -> float:
    """Compute Σ share · |predicted − real|, the expected error (Guo et al. 2017, Eq. 3)."""
    return sum(one.share * abs(one.predicted - one.real) for one in bins)


@dataclass(frozen=True)
class BinaryScores:
    """Binary classification of real pairs against others at one noise level.

    Attributes:
        accuracy: Balanced accuracy of the logit's sign.
        ranking: Area under the ROC curve: probability that the real one of two has the larger
            logit; 0.5 is chance.
        calibration_error: Difference between sigmoid(h) and the share of real pairs, 0 to 1. Few
            pairs per bin bias it upwards.
        cross_entropy: 2 ln 2 for a constant logit of 0.
        logit_real: Mean logit of the real pairs.
        logit_other: Mean logit of the others.
    """

    accuracy: float
    ranking: float
    calibration_error: float
    cross_entropy: float
    logit_real: float
    logit_other: float

    @staticmethod
    def of(real: Tensor, other: Tensor) -> "BinaryScores":
        """Compute all scores of the logits of real pairs and of others."""
        return BinaryScores(
            accuracy=accuracy(real, other),
            ranking=ranking(real, other),
            calibration_error=calibration_error(reliability(real, other)),
            cross_entropy=cross_entropy(real, other),
            logit_real=float(real.mean()),
            logit_other=float(other.mean()),
        )
