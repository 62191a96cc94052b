"""What a study is: arms that differ in one thing, and what they are expected to show.

Knows no data, no network and no process.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.stats import t

from mmdisco.core.av import AV
from mmdisco.core.losses import MMDisCoLoss
from mmdisco.errors import UserError
from mmdisco.generation.system import SamplingDefaults
from mmdisco.training.config import (
    ContrastiveConfig,
    DiscriminatorConfig,
    NegativesConfig,
    NoiseLevelConfig,
    TrainerConfig,
)

BASES: Final = "bases alone"


@dataclass(frozen=True)
class TrainingRecipe:
    """How a discriminator is trained.

    Attributes:
        shape: Of the network.
        levels: Noise levels that are seen.
        loss: Weights of both losses.
        fakery: What real pairs are told from.
        training: Steps, sizes and rates; the seed is that of a cell.
        first: Contrast within a batch before, of a network that has products.
        kept: Whether the transformer alone is trained after it.
    """

    shape: DiscriminatorConfig
    levels: NoiseLevelConfig
    loss: MMDisCoLoss
    fakery: NegativesConfig
    training: TrainerConfig
    first: ContrastiveConfig
    kept: bool


@dataclass(frozen=True)
class SamplingVariant:
    """How clips are made.

    Attributes:
        sampling: By name.
        resamples: How often each step is taken again.
    """

    sampling: SamplingDefaults
    resamples: int = 0

    @property
    def guided(self) -> bool:
        """Whether the discriminator is asked at all."""
        return self.sampling.joint_scale != AV(0.0, 0.0)

    @property
    def evaluations(self) -> int:
        """Of the bases, for one clip."""
        return self.sampling.steps * (1 + self.resamples)

    @property
    def alone(self) -> "SamplingVariant":
        """The same without the discriminator."""
        return replace(self, sampling=replace(self.sampling, joint_scale=AV(0.0, 0.0)))


@dataclass(frozen=True)
class Baseline:
    """What arms are changes of."""

    recipe: TrainingRecipe
    way: SamplingVariant


@dataclass(frozen=True)
class Arm:
    """One thing that is tried.

    Attributes:
        name: For tables.
        way: How its clips are made.
        recipe: How its discriminator is trained; None is one that is there already, or none.
        x: Its place on the study's axis, where there is one.
        series: Which of the curves of the picture it is on.
    """

    name: str
    way: SamplingVariant
    recipe: TrainingRecipe | None = None
    x: float | None = None
    series: str = ""


Cells = Mapping[str, Sequence[Mapping[str, float]]]
"""Figures by arm, one mapping a seed; the same seeds in the same order for all arms."""

_SURE: Final = 0.95


@dataclass(frozen=True)
class Claim(ABC):
    """What a study is expected to show, held against what it found.

    Attributes:
        text: In words.
        figure: Which figure decides.
        arm: Whose.
        than: The arm it is compared with.
    """

    text: str
    figure: str
    arm: str
    than: str

    def verdict(self, cells: Cells) -> str:
        """In words, with the mean difference and its interval of 95 % (Student's t).

        Differences are taken seed by seed: arms of one seed start from the same noise and see the
        same batches, so that much of what seeds do is common to them.
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
        """The verdict on a difference with its interval."""


class Greater(Claim):
    """The figure of the one is larger."""

    def _said(self, low: float, high: float) -> str:
        if low > 0:
            return "holds"
        return "FAILS" if high < 0 else "not decided"


class NotGreater(Claim):
    """The figure of the one is not larger."""

    def _said(self, low: float, high: float) -> str:
        del high
        return "FAILS" if low > 0 else "holds"


@dataclass(frozen=True)
class AblationStudy:
    """A question and the arms that answer it.

    Attributes:
        title: A line.
        arms: From what is usual to what is tried; the bases alone are added to all.
        claims: What it is expected to show.
        axis: Name of the arms' ``x``; empty where they have none.
    """

    title: str
    arms: Callable[[Baseline], Sequence[Arm]]
    claims: tuple[Claim, ...] = ()
    axis: str = ""

    def cells(self, usual: Baseline) -> list[Arm]:
        """All arms, the bases alone first."""
        return [Arm(BASES, usual.way.alone), *self.arms(usual)]

    def chosen(self, usual: Baseline, names: Sequence[str]) -> list[Arm]:
        """The arms of these names, the bases alone first; all if there are no names.

        Raises:
            UserError: There is no such arm.
        """
        found = self.cells(usual)
        known = [arm.name for arm in found]
        for name in names:
            if name not in known:
                raise UserError(f"unknown arm {name!r}: choose of {'; '.join(known)}")
        return [arm for arm in found if not names or arm.name in (BASES, *names)]
