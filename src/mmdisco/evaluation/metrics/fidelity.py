"""Metrics of the difference between generated and real clips, one modality at a time.

Fréchet distances stream, in constant memory; the others use at most ``MOST`` clips of each set,
drawn with the seed. Class probabilities give, in nats, ``IS = exp E KL(p(y|x) ‖ p(y))`` (Salimans
et al. 2016) and two Kullback-Leibler divergences: the set divergence compares the mean
probabilities of two sets, the paired one those of clips of the same name (Iashin and Rahtu 2021).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import softmax
from typing_extensions import override

from mmdisco.evaluation.metrics.base import EvaluationData, Metric
from mmdisco.evaluation.metrics.distances import (
    NEIGHBOURS,
    Features,
    FeatureStatistics,
    Whitening,
    frechet_distance,
    kernel_jackknife,
    manifold,
)
from mmdisco.evaluation.metrics.features import Readings
from mmdisco.evaluation.metrics.result import (
    GROUPS,
    Curve,
    Jackknife,
    MetricResult,
    Outcome,
    Skipped,
    mean_result,
)

Probabilities = npt.NDArray[np.floating]  # (clips, classes)

_LEAST = 1e-6  # floor: a class of probability 0 would make a divergence infinite


def inception_score(probabilities: Probabilities) -> float:
    """Compute the score, from 1 (all clips alike or all unclear) to the number of classes."""
    return float(np.exp(_divergence(probabilities, probabilities.mean(0)).mean()))


def set_divergence(reference: Probabilities, generated: Probabilities) -> float:
    """Compute KL(mean reference ‖ mean generated)."""
    return float(_divergence(reference.mean(0)[None], generated.mean(0))[0])


def paired_divergences(
    reference: Probabilities, generated: Probabilities
) -> npt.NDArray[np.float64]:
    """Compute KL(reference ‖ generated) of each pair of rows, (pairs,)."""
    return _divergence(reference, generated)


def probabilities(logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Compute the softmax of logits (clips, classes)."""
    return np.asarray(softmax(logits.astype(np.float64), axis=1), np.float64)


def _divergence(p: Probabilities, q: Probabilities) -> npt.NDArray[np.float64]:
    p, q = np.maximum(p, _LEAST), np.maximum(q, _LEAST)
    return np.asarray((p * (np.log(p) - np.log(q))).sum(-1), np.float64)


MOST: Final = 4000
FEATURES: Final = "features"
_AT_ONCE: Final = 256


@dataclass(frozen=True)
class FrechetDistance(Metric):
    """Fréchet distance over an extractor's features, plain and extrapolated.

    Attributes:
        extractor: Name of the extractor.
        whitening: Whitening of the features by the reference, if any.
    """

    extractor: str
    whitening: Whitening | None = None
    title = "Fréchet distance"
    needs_reference = True
    min_clips = 2
    more = "and more clips than it has features, by a tenth"

    @property
    @override
    def name(self) -> str:
        return super().name + ("" if self.whitening is None else ", whitened")

    def compute(self, sets: EvaluationData) -> list[Outcome]:
        """Measure the distance, and the same without its first-order bias."""
        assert sets.reference is not None
        pair = [grouped(one, self.extractor) for one in (sets.generated, sets.reference)]
        dimensions = pair[0][0].dimensions
        fewest = min(sum(one.count for one in groups) for groups in pair)
        # enough for full rank even without one group
        needed = (dimensions + 1) * GROUPS // (GROUPS - 1) + 2
        if fewest < needed:
            needs = f"{needed} clips in each folder for {dimensions} features, not {fewest}"
            return [Skipped(self.name, needs)]
        notes = "biased upwards with few clips: compare sets of equal size only"
        if self.whitening is not None:
            # computed once for all groups: the coordinates define the distance that is estimated
            coordinates = self.whitening.of(_merged(pair[1]))
            pair = [[coordinates(one) for one in groups] for groups in pair]
            notes += f"; features whitened by the reference, ridge {self.whitening.ridge:g}"
        result = frechet_jackknife(*pair)
        count = sum(one.count for one in pair[0])
        sizes = {"reference clips": float(sum(one.count for one in pair[1]))}
        plain = MetricResult(
            self.name,
            result.value,
            result.interval,
            count,
            higher_is_better=False,
            baseline=sizes,
            notes=notes,
            curve=Curve("generated clips", by_size(*pair)),
        )
        extrapolated = MetricResult(
            f"{self.name}, extrapolated",
            result.extrapolated,
            result.extrapolated_interval,
            count,
            higher_is_better=False,
            baseline=sizes,
            notes="to infinitely many clips, by leaving out groups; below 0 is chance",
        )
        return [plain, extrapolated]


@dataclass(frozen=True)
class KernelDistance(Metric):
    """Kernel distance over an extractor's features.

    Attributes:
        extractor: Name of the extractor.
    """

    extractor: str
    title = "kernel distance"
    needs_reference = True
    min_clips = 2 * GROUPS + 2

    def compute(self, sets: EvaluationData) -> list[Outcome]:
        """Measure MMD² of the features in units of the reference's standard deviations."""
        generated, reference = scaled(sets, self.extractor)
        result = kernel_jackknife(generated, reference)
        return [
            MetricResult(
                self.name,
                result.value,
                result.interval,
                len(generated),
                higher_is_better=False,
                baseline={"reference clips": float(len(reference))},
                notes="unbiased; cubic kernel; features in standard deviations of the reference",
            )
        ]


@dataclass(frozen=True)
class PRDC(Metric):
    """Precision, recall, density and coverage over an extractor's features.

    Attributes:
        extractor: Name of the extractor.
    """

    extractor: str
    title = "precision and coverage"
    needs_reference = True
    min_clips = 4 * NEIGHBOURS

    def compute(self, sets: EvaluationData) -> list[Outcome]:
        """Measure all four."""
        generated, reference = scaled(sets, self.extractor)
        found = manifold(generated, reference)
        note = (
            f"{NEIGHBOURS} neighbours, {len(generated)} generated and {len(reference)} real clips"
        )
        return [
            mean_result(
                f"{name}, {self.extractor}",
                scores,
                higher_is_better=True,
                notes=note,
                count=len(generated),
            )
            for name, scores in (
                ("precision", found.precision),
                ("density", found.density),
                ("recall", found.recall),
                ("coverage", found.coverage),
            )
        ]


@dataclass(frozen=True)
class InceptionScore(Metric):
    """Inception score, and divergences from the reference, over a classifier's ``logits``.

    Attributes:
        extractor: Name of the extractor.
    """

    extractor: str
    title = "inception score"
    needs_reference = False
    min_clips = 2 * GROUPS

    def compute(self, sets: EvaluationData) -> list[Outcome]:
        """Measure the score, and with reference clips both divergences."""
        own = probabilities(sets.generated.matrix(self.extractor, "logits", MOST, sets.seed))
        score = Jackknife.over(lambda some: inception_score(own[some]), len(own))
        found: list[Outcome] = [
            MetricResult(self.name, score.value, score.interval, len(own), higher_is_better=True)
        ]
        if sets.reference is None:
            return found
        real = probabilities(sets.reference.matrix(self.extractor, "logits", MOST, sets.seed))
        if len(real) >= self.min_clips:
            groups, real_groups = (np.arange(len(one)) % GROUPS for one in (own, real))
            left = [set_divergence(real[real_groups != k], own[groups != k]) for k in range(GROUPS)]
            divergence = Jackknife.of(set_divergence(real, own), left)
            name = f"KL of mean classes, {self.extractor}"
            interval = divergence.interval
            found.append(
                MetricResult(name, divergence.value, interval, len(own), higher_is_better=False)
            )
        return [*found, self._paired(sets)]

    def _paired(self, sets: EvaluationData) -> Outcome:
        assert sets.reference is not None
        name = f"KL of pairs, {self.extractor}"
        places = {one: k for k, one in enumerate(sets.reference.names)}
        pairs: list[tuple[np.ndarray, np.ndarray]] = []
        for index, record in sets.generated.chosen(self.extractor, MOST, sets.seed):
            place = places.get(sets.generated.names[index])
            other = None if place is None else sets.reference.record(self.extractor, place)
            if other is not None:
                pairs.append((other["logits"], record["logits"]))
        if not pairs:
            return Skipped(name, "generated and reference clips of the same names")
        real, own = (probabilities(np.stack(side)) for side in zip(*pairs, strict=True))
        return mean_result(name, paired_divergences(real, own), higher_is_better=False)


def scaled(sets: EvaluationData, extractor: str) -> tuple[Features, Features]:
    """Scale features of generated and reference clips to the reference's standard deviations."""
    assert sets.reference is not None
    reference = sets.reference.matrix(extractor, FEATURES, MOST, sets.seed)
    generated = sets.generated.matrix(extractor, FEATURES, MOST, sets.seed)
    middle, spread = reference.mean(0), spread_of(reference)
    return (generated - middle) / spread, (reference - middle) / spread


def spread_of(features: Features) -> Features:
    """Compute standard deviations, (dimensions,), at least a tenth of their median.

    Without the limit, a feature that is nearly constant over the real clips would dominate the
    rest.
    """
    found = features.std(0)
    return np.maximum(found, 0.1 * np.median(found) + 1e-6)


def grouped(readings: Readings, extractor: str) -> list[FeatureStatistics]:
    """Accumulate statistics for each group of the jackknife, from a stream of clips."""
    groups: list[FeatureStatistics] = []
    for start, batch in enumerate(_batches(readings, extractor)):
        places = (start * _AT_ONCE + np.arange(len(batch))) % GROUPS
        parts = [FeatureStatistics.of(batch[places == k]) for k in range(GROUPS)]
        groups = [a.merge(b) for a, b in zip(groups, parts, strict=True)] if groups else parts
    return groups


def frechet_jackknife(
    generated: list[FeatureStatistics], reference: list[FeatureStatistics]
) -> Jackknife:
    """Compute the distance of all clips, and leave out each group of both sets in turn."""
    without = [
        frechet_distance(_merged(generated, k), _merged(reference, k)) for k in range(GROUPS)
    ]
    return Jackknife.of(frechet_distance(_merged(generated), _merged(reference)), without)


def by_size(
    generated: list[FeatureStatistics], reference: list[FeatureStatistics]
) -> dict[float, float]:
    """Compute the distance over ever more groups of both sets, by the number of generated clips."""
    found: dict[float, float] = {}
    for part in range(1, 6):
        some = [_merged(one[: part * GROUPS // 5]) for one in (generated, reference)]
        if min(one.count for one in some) > some[0].dimensions:
            found[float(some[0].count)] = frechet_distance(*some)
    return found


def _merged(groups: list[FeatureStatistics], without: int | None = None) -> FeatureStatistics:
    return reduce(FeatureStatistics.merge, (one for k, one in enumerate(groups) if k != without))


def _batches(readings: Readings, extractor: str) -> Iterator[Features]:
    rows: list[np.ndarray] = []
    for record in readings.records(extractor):
        rows.append(record[FEATURES])
        if len(rows) == _AT_ONCE:
            yield np.stack(rows)
            rows = []
    if rows:
        yield np.stack(rows)
