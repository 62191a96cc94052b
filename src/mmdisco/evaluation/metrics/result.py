"""Result of a metric: a number with interval and baselines, or the reason why there is none.

Intervals are those of a mean, or of a jackknife over groups of clips (Quenouille 1956, Tukey 1958).
For K equal groups: θ from all, θ_k without the k-th. The bias of order 1/N, which small samples add
to a Fréchet distance, cancels in K θ − (K − 1) mean θ_k, the value extrapolated to infinitely many
clips; the spread of θ_k gives the standard error.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

NORMAL_95: Final = 1.96
UNGUIDED: Final = "unguided baseline"  # name of clips made without joint guidance


@dataclass(frozen=True, slots=True)
class Interval:
    """Approximate 95 % confidence interval over draws of the clips."""

    low: float
    high: float

    @staticmethod
    def around(value: float, error: float) -> "Interval":
        """Return ``value`` ± 1.96 standard errors."""
        return Interval(value - NORMAL_95 * error, value + NORMAL_95 * error)

    def apart(self, other: "Interval") -> bool:
        """Check that both are disjoint."""
        return self.high < other.low or other.high < self.low


@dataclass(frozen=True, slots=True)
class Curve:
    """Curve of a number, for a plot.

    Attributes:
        axis: Quantity it depends on, with its unit.
        points: Values by position on the axis, ascending.
    """

    axis: str
    points: Mapping[float, float]


@dataclass(frozen=True, slots=True)
class MetricResult:
    """One number of an evaluation.

    Attributes:
        name: Name of the quantity.
        value: The number.
        interval: 95 % interval over draws of clips.
        count: Number of generated clips.
        higher_is_better: ``None`` where neither is.
        baseline: Numbers to compare the value with, by name.
        notes: Definition and remarks.
        curve: Underlying curve, where it shows more than a number.
    """

    name: str
    value: float
    interval: Interval | None
    count: int
    higher_is_better: bool | None
    baseline: Mapping[str, float] = field(default_factory=dict[str, float])
    notes: str = ""
    curve: Curve | None = None

    def record(self) -> dict[str, Any]:
        """Convert to JSON's types; a number that is not finite becomes null."""
        curve = self.curve and {
            "axis": self.curve.axis,
            "points": [[x, _finite(y)] for x, y in self.curve.points.items()],
        }
        interval = self.interval and [_finite(self.interval.low), _finite(self.interval.high)]
        return {
            "metric": self.name,
            "value": _finite(self.value),
            "interval": interval,
            "count": self.count,
            "higher is better": self.higher_is_better,
            "baseline": {name: _finite(value) for name, value in self.baseline.items()},
            "notes": self.notes,
            "curve": curve,
        }


@dataclass(frozen=True, slots=True)
class Skipped:
    """A metric without a number.

    Attributes:
        name: Name of the metric.
        needs: What is missing.
    """

    name: str
    needs: str

    def record(self) -> dict[str, Any]:
        """Convert to JSON's types."""
        return {"metric": self.name, "value": None, "not computed": f"needs {self.needs}"}


Outcome = MetricResult | Skipped


def mean_result(
    name: str,
    scores: npt.NDArray[np.floating],
    *,
    higher_is_better: bool | None,
    baseline: Mapping[str, float] | None = None,
    notes: str = "",
    count: int | None = None,
    curve: Curve | None = None,
) -> MetricResult:
    """Average one score per clip, with the standard error of a mean; needs at least one clip.

    ``count`` is the number of generated clips where the scores are of others.
    """
    value = float(scores.mean())
    error = float(scores.std()) / math.sqrt(max(len(scores) - 1, 1))
    interval = Interval.around(value, error) if len(scores) > 1 else None
    if interval and scores.min() >= 0 and scores.max() <= 1:  # a share
        interval = Interval(max(interval.low, 0.0), min(interval.high, 1.0))
    clips = len(scores) if count is None else count
    return MetricResult(
        name, value, interval, clips, higher_is_better, baseline or {}, notes, curve
    )


def gap_closed(guided: float, control: float, best: float) -> float:
    """Compute (guided − control) / (best − control): 0 is no better than the control, 1 the best.

    Of real clips the control are recombined ones; of samplers it is the unguided baseline. NaN
    where there is no gap.
    """
    return (guided - control) / (best - control) if best != control else float("nan")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


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

    @staticmethod
    def over(value: Callable[[npt.NDArray[np.bool_]], float], clips: int) -> "Jackknife":
        """Estimate ``value`` of the clips that a mask of ``clips`` selects."""
        groups = np.arange(clips) % GROUPS  # sizes differ by at most one
        without = [value(groups != k) for k in range(GROUPS)]
        return Jackknife.of(value(np.ones(clips, np.bool_)), without)

    @property
    def interval(self) -> Interval:
        """Interval around the value."""
        return Interval.around(self.value, self.error)

    @property
    def extrapolated_interval(self) -> Interval:
        """Interval around the extrapolated value."""
        return Interval.around(self.extrapolated, self.error)
