"""Ablation studies: variants that differ in one factor, the claims they test, and their setting."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.stats import t

from mmdisco.core.av import AV
from mmdisco.discriminators.hub import find_discriminator, read_config
from mmdisco.errors import UserError
from mmdisco.evaluation.metrics.result import UNGUIDED
from mmdisco.generation.pipeline import SamplerConfig
from mmdisco.generation.system import SamplingDefaults
from mmdisco.training.config import TrainingConfig


@dataclass(frozen=True)
class VariantSampling:
    """Sampling of a variant.

    Attributes:
        defaults: Settings by name.
        resamples: Number of times that each step is repeated.
    """

    defaults: SamplingDefaults
    resamples: int = 0

    def changed(self, *, resamples: int = 0, **settings: Any) -> "VariantSampling":
        """Return a copy with other settings."""
        return VariantSampling(replace(self.defaults, **settings), resamples)

    @property
    def settings(self) -> SamplerConfig:
        """Configuration of the sampler."""
        return replace(self.defaults.settings, resamples=self.resamples)

    @property
    def guided(self) -> bool:
        """Whether the discriminator is used at all."""
        return self.defaults.joint_scale != AV(0.0, 0.0)

    @property
    def evaluations(self) -> int:
        """Number of evaluations of the base models for one clip."""
        return self.defaults.steps * (1 + self.resamples)

    @property
    def unguided(self) -> "VariantSampling":
        """The same without the discriminator."""
        return replace(self, defaults=replace(self.defaults, joint_scale=AV(0.0, 0.0)))


@dataclass(frozen=True)
class Baseline:
    """Baseline that variants change: the training of its discriminator, and sampling."""

    training: TrainingConfig
    sampling: VariantSampling


@dataclass(frozen=True)
class Variant:
    """One variant of a study.

    Attributes:
        name: Name for tables.
        sampling: Its sampling.
        training: Training of its discriminator; None for an existing discriminator, or none.
        x: Position on the study's axis, if it has one.
        series: Curve of the plot that it belongs to.
    """

    name: str
    sampling: VariantSampling
    training: TrainingConfig | None = None
    x: float | None = None
    series: str = ""


Measurements = Mapping[str, Sequence[Mapping[str, float]]]
"""Results by variant, one mapping per seed; the same seeds in the same order for all variants."""

_SURE: Final = 0.95


@dataclass(frozen=True)
class Claim(ABC):
    """Claim of a study, tested on its results.

    Attributes:
        text: The claim in words.
        metric: Metric that decides.
        variant: Variant that the claim is about.
        than: Variant it is compared with.
    """

    text: str
    metric: str
    variant: str
    than: str

    def test(self, cells: Measurements) -> str:
        """Decide, and give the mean difference with its 95 % interval (Student's t).

        Differences are paired by seed: variants of one seed start from the same noise and train on
        the same batches, so that much of the variation between seeds cancels.
        """
        both = zip(cells.get(self.variant, ()), cells.get(self.than, ()), strict=False)
        pairs = [
            (a[self.metric], b[self.metric])
            for a, b in both
            if self.metric in a and self.metric in b
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
        return f"{self._decide(low, high)} ({middle:+.3f}, {low:+.3f} to {high:+.3f})"

    @abstractmethod
    def _decide(self, low: float, high: float) -> str:
        """Decide by the interval of the difference."""


class Greater(Claim):
    """Claim that the metric of the first variant is larger."""

    def _decide(self, low: float, high: float) -> str:
        if low > 0:
            return "holds"
        return "FAILS" if high < 0 else "not decided"


class NotGreater(Claim):
    """Claim that the metric of the first variant is not larger."""

    def _decide(self, low: float, high: float) -> str:
        del high
        return "FAILS" if low > 0 else "holds"


@dataclass(frozen=True)
class AblationStudy:
    """A question and the variants that answer it.

    Attributes:
        title: Title of one line.
        variants: Builds the variants from the baseline; the unguided baseline is always added.
        claims: Expected results.
        axis: Name of the variants' ``x``; empty where they have none.
    """

    title: str
    variants: Callable[[Baseline], Sequence[Variant]]
    claims: tuple[Claim, ...] = ()
    axis: str = ""

    def all_variants(self, baseline: Baseline) -> list[Variant]:
        """List all variants, the unguided baseline first."""
        return [Variant(UNGUIDED, baseline.sampling.unguided), *self.variants(baseline)]

    def select(self, baseline: Baseline, names: Sequence[str]) -> list[Variant]:
        """Select variants by name, the unguided baseline first; all variants without names.

        Raises:
            UserError: There is no such variant.
        """
        found = self.all_variants(baseline)
        known = [variant.name for variant in found]
        for name in names:
            if name not in known:
                raise UserError(f"unknown variant {name!r}: choose of {'; '.join(known)}")
        return [variant for variant in found if not names or variant.name in (UNGUIDED, *names)]


@dataclass(frozen=True, kw_only=True)
class ExperimentSetting(ABC):
    """Setting of an experiment; it holds plain values, so that it can be sent to other processes.

    Attributes:
        root: Folder of all studies, which share trainings and measurements.
        clips: Number of clips per variant and seed.
        pairs: Number of held-out pairs for the diagnostics of a trained discriminator.
        levels: Number of noise levels for the diagnostics.
        discriminator: Folder or hub id of the discriminator for variants without training; None is
            the pair's own.
        training: Training of the baseline, which variants change.
        steps: Sampling steps; None is the preset's.
    """

    root: Path
    clips: int
    pairs: int
    levels: int
    discriminator: str | None
    training: TrainingConfig
    steps: int | None = None

    @property
    def discriminator_hash(self) -> str | None:
        """Return the checksum of ``discriminator``.

        Raises:
            UserError: It is missing.
        """
        if self.discriminator is None:
            return None
        return str(read_config(find_discriminator(self.discriminator))["sha256"])

    @abstractmethod
    def usual_sampling(self) -> SamplingDefaults:
        """Return the sampling of the baseline, up to its steps.

        Raises:
            UserError: A file that is always needed is missing.
        """

    def baseline(self) -> Baseline:
        """Return the baseline that variants change.

        Raises:
            UserError: As in ``usual_sampling``.
        """
        usual = self.usual_sampling()
        return Baseline(
            self.training, VariantSampling(replace(usual, steps=self.steps or usual.steps))
        )

    @abstractmethod
    def expect(self, variants: list[Variant]) -> None:
        """Check, before any work, that the variants can be run.

        Raises:
            UserError: They cannot.
        """

    @abstractmethod
    def prepare(self, variants: list[Variant]) -> None:
        """Make what all variants need and is missing."""

    @abstractmethod
    def weight_hashes(self) -> Mapping[str, Any]:
        """Return what results depend on beside a variant and its seed, in JSON's types."""

    @abstractmethod
    def train(self, config: TrainingConfig, seed: int, folder: Path) -> None:
        """Train into a folder, resuming if possible; it becomes a ``PretrainedDiscriminator``."""

    @abstractmethod
    def measure(
        self, variant: Variant, seed: int, trained: Path | None, name: str
    ) -> dict[str, float]:
        """Measure a variant.

        Args:
            variant: The variant.
            seed: Seed of the sampling noise.
            trained: Folder of its discriminator; None for variants without training.
            name: Name of the cell, for files that it leaves.
        """

    @abstractmethod
    def columns(self, measured: Sequence[str]) -> Mapping[str, str]:
        """Select the metrics that tables and plots show, with their headings."""
