"""Ablation studies: arms that differ in one factor, and the claims they test.

Independent of data, networks and processes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.stats import t

from mmdisco.core.av import AV
from mmdisco.errors import UserError
from mmdisco.evaluation.metrics.result import UNGUIDED
from mmdisco.generation.system import SamplingDefaults
from mmdisco.training.config import TrainingConfig


@dataclass(frozen=True)
class SamplingVariant:
    """Variant of sampling.

    Attributes:
        sampling: Settings by name.
        resamples: Number of times that each step is repeated.
    """

    sampling: SamplingDefaults
    resamples: int = 0

    @property
    def guided(self) -> bool:
        """Whether the discriminator is used at all."""
        return self.sampling.joint_scale != AV(0.0, 0.0)

    @property
    def evaluations(self) -> int:
        """Number of evaluations of the base models for one clip."""
        return self.sampling.steps * (1 + self.resamples)

    @property
    def alone(self) -> "SamplingVariant":
        """Return the same variant without the discriminator."""
        return replace(self, sampling=replace(self.sampling, joint_scale=AV(0.0, 0.0)))


@dataclass(frozen=True)
class Baseline:
    """Baseline that arms change: the training of its discriminator, and sampling."""

    training: TrainingConfig
    way: SamplingVariant


@dataclass(frozen=True)
class Arm:
    """One variant of a study.

    Attributes:
        name: Name for tables.
        way: Variant of sampling.
        training: Training of its discriminator; None for an existing discriminator, or none.
        x: Position on the study's axis, if it has one.
        series: Curve of the plot that it belongs to.
    """

    name: str
    way: SamplingVariant
    training: TrainingConfig | None = None
    x: float | None = None
    series: str = ""


Cells = Mapping[str, Sequence[Mapping[str, float]]]
"""Results by arm, one mapping per seed; the same seeds in the same order for all arms."""

_SURE: Final = 0.95


@dataclass(frozen=True)
class Claim(ABC):
    """Claim of a study, tested on its results.

    Attributes:
        text: The claim in words.
        figure: Metric that decides.
        arm: Arm that the claim is about.
        than: Arm it is compared with.
    """

    text: str
    figure: str
    arm: str
    than: str

    def verdict(self, cells: Cells) -> str:
        """Evaluate in words, with the mean difference and its 95 % interval (Student's t).

        Differences are paired by seed: arms of one seed start from the same noise and train on the
        same batches, so that much of the variation between seeds cancels.
        """
        both = zip(cells.get(self.arm, ()), cells.get(self.than, ()), strict=False)
        pairs = [
            (a[self.figure], b[self.figure])
            for a, b in both
            if self.figure in a and self.figure in b
        ]
        differences = np.array([a - b for a, b in pairs])
        if not pairs or np.isnan(differences).any():
            return "not measured"
        middle = float(differences.mean())
        if len(pairs) < 2:
            return f"not decided by one seed (difference {middle:+.3f})"
        error = float(differences.std(ddof=1)) / len(pairs) ** 0.5
        reach = error * float(t.ppf((1 + _SURE) / 2, len(pairs) - 1))
        low, high = middle - reach, middle + reach
        return f"{self._said(low, high)} ({middle:+.3f}, {low:+.3f} to {high:+.3f})"

    @abstractmethod
    def _said(self, low: float, high: float) -> str:
        """Format the verdict on a difference with its interval."""


class Greater(Claim):
    """Claim that the metric of the first arm is larger."""

    def _said(self, low: float, high: float) -> str:
        if low > 0:
            return "holds"
        return "FAILS" if high < 0 else "not decided"


class NotGreater(Claim):
    """Claim that the metric of the first arm is not larger."""

    def _said(self, low: float, high: float) -> str:
        del high
        return "FAILS" if low > 0 else "holds"


@dataclass(frozen=True)
class AblationStudy:
    """A question and the arms that answer it.

    Attributes:
        title: Title of one line.
        arms: Builds the arms from the baseline; the unguided baseline is always added.
        claims: Expected results.
        axis: Name of the arms' ``x``; empty where they have none.
    """

    title: str
    arms: Callable[[Baseline], Sequence[Arm]]
    claims: tuple[Claim, ...] = ()
    axis: str = ""

    def cells(self, usual: Baseline) -> list[Arm]:
        """List all arms, the unguided baseline first."""
        return [Arm(UNGUIDED, usual.way.alone), *self.arms(usual)]

    def chosen(self, usual: Baseline, names: Sequence[str]) -> list[Arm]:
        """Select arms by name, the unguided baseline first; all arms without names.

        Raises:
            UserError: There is no such arm.
        """
        found = self.cells(usual)
        known = [arm.name for arm in found]
        for name in names:
            if name not in known:
                raise UserError(f"unknown variant {name!r}: choose of {'; '.join(known)}")
        return [arm for arm in found if not names or arm.name in (UNGUIDED, *names)]
