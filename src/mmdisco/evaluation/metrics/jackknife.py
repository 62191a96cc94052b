"""Jackknife over groups of clips: bias and standard error (Quenouille 1956, Tukey 1958).

For K equal groups: θ from all, θ_k without the k-th. The bias of order 1/N, which small samples add
to a Fréchet distance, cancels in K θ − (K − 1) mean θ_k, the value extrapolated to infinitely many
clips; the spread of θ_k gives the standard error.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mmdisco.evaluation.metrics.result import Interval

GROUPS: Final = 20


@dataclass(frozen=True, slots=True)
class Jackknife:
    """Jackknife estimate.

    Attributes:
        value: Value from all clips.
        extrapolated: Value extrapolated to infinitely many clips, to first order.
        error: Standard error of either.
    """

    value: float
    extrapolated: float
    error: float

    @staticmethod
    def of(value: float, without: Sequence[float]) -> "Jackknife":
        """Estimate from the value of all clips and those without each of at least two groups."""
        groups, left = len(without), np.asarray(without, np.float64)
        extrapolated = groups * value - (groups - 1) * float(left.mean())
        error = float(np.sqrt((groups - 1) * left.var()))
        return Jackknife(value, extrapolated, error)

    @property
    def interval(self) -> Interval:
        """Interval around the value."""
        return Interval.around(self.value, self.error)

    @property
    def extrapolated_interval(self) -> Interval:
        """Interval around the extrapolated value."""
        return Interval.around(self.extrapolated, self.error)


def group_of(index: int, groups: int = GROUPS) -> int:
    """Return the group of clip ``index``, round-robin, so that sizes differ by at most one."""
    return index % groups
