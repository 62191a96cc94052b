"""Bias and error of a number from leaving out groups of clips (Quenouille 1956, Tukey 1958).

Of K equal groups: θ from all, θ_k without the k-th. The bias of order 1/N, which small samples add
to a Fréchet distance, leaves in K θ − (K − 1) mean θ_k, the value extrapolated to infinitely many
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
    """What the groups say.

    Attributes:
        value: From all clips.
        extrapolated: To infinitely many clips, to first order.
        error: Standard error of either.
    """

    value: float
    extrapolated: float
    error: float

    @staticmethod
    def of(value: float, without: Sequence[float]) -> "Jackknife":
        """From the value of all clips and those without each group; at least two groups."""
        groups, left = len(without), np.asarray(without, np.float64)
        extrapolated = groups * value - (groups - 1) * float(left.mean())
        error = float(np.sqrt((groups - 1) * left.var()))
        return Jackknife(value, extrapolated, error)

    @property
    def interval(self) -> Interval:
        """Around the value."""
        return Interval.around(self.value, self.error)

    @property
    def extrapolated_interval(self) -> Interval:
        """Around the extrapolated value."""
        return Interval.around(self.extrapolated, self.error)


def group_of(index: int, groups: int = GROUPS) -> int:
    """The group of clip ``index``: by turns, so that all are of one size within one."""
    return index % groups
