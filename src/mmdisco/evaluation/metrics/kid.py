"""Kernel distance of two sets of features (Bińkowski et al. 2018): unbiased at any sample size.

MMD² = E k(x, x′) + E k(y, y′) − 2 E k(x, y) with k(x, y) = (x·y / d + 1)³, each mean over distinct
clips only. It may be negative where both sets are alike.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmdisco.evaluation.metrics.frechet import Features
from mmdisco.evaluation.metrics.result import GROUPS, Jackknife

Sums = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class KernelSums:
    """Sums of the kernel over pairs of groups; they give the distance with or without a group.

    Attributes:
        within: Sums within the first set, (groups, groups), no clip with itself.
        others: Sums within the second set.
        across: Sums of the first set with the second.
        sizes: Clips in each group of both sets, (2, groups).
    """

    within: Sums
    others: Sums
    across: Sums
    sizes: Sums

    @staticmethod
    def of(first: Features, second: Features, groups: int = GROUPS) -> "KernelSums":
        """Sum over features (n, d) and (m, d)."""
        sizes = np.array(
            [np.bincount(np.arange(len(x)) % groups, minlength=groups) for x in (first, second)]
        )
        return KernelSums(
            _sums(first, first, groups, same=True),
            _sums(second, second, groups, same=True),
            _sums(first, second, groups, same=False),
            sizes.astype(np.float64),
        )

    def distance(self, without: int | None = None) -> float:
        """Compute MMD² of all clips, or of those not in one group."""
        kept = np.arange(len(self.within)) != (-1 if without is None else without)
        n, m = self.sizes[:, kept].sum(1)
        within, others, across = (
            float(sums[np.ix_(kept, kept)].sum())
            for sums in (self.within, self.others, self.across)
        )
        return within / (n * (n - 1)) + others / (m * (m - 1)) - 2 * across / (n * m)


def kernel_jackknife(first: Features, second: Features) -> Jackknife:
    """Compute MMD² with its standard error; needs more clips than twice the groups."""
    sums = KernelSums.of(first, second)
    return Jackknife.of(sums.distance(), [sums.distance(k) for k in range(GROUPS)])


def _sums(first: Features, second: Features, groups: int, *, same: bool) -> Sums:
    """Sum the kernel by group, a block of rows at a time, so that memory stays small."""
    rows, columns = np.arange(len(first)) % groups, np.arange(len(second)) % groups
    total = np.zeros((groups, groups))
    right = second.astype(np.float64)
    indicator = np.eye(groups)[columns]
    for start in range(0, len(first), 512):
        left = first[start : start + 512].astype(np.float64)
        values = (left @ right.T / first.shape[1] + 1) ** 3
        if same:
            values[np.arange(len(left)), start + np.arange(len(left))] = 0
        np.add.at(total, rows[start : start + 512], values @ indicator)
    return total
