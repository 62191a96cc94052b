"""Metrics of audio-video alignment, each with shuffled pairs of the same clips as a baseline."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from typing_extensions import override

from mmdisco.evaluation.metrics.av_align import AvAlignVariant
from mmdisco.evaluation.metrics.base import EvaluationData, Metric, against_shuffles, derangements
from mmdisco.evaluation.metrics.features import Readings, Record
from mmdisco.evaluation.metrics.result import (
    GROUPS,
    Curve,
    Jackknife,
    MetricResult,
    Outcome,
    Skipped,
    mean_result,
)
from mmdisco.evaluation.metrics.sounding_objects.agreement import TIGHT, event_f1
from mmdisco.evaluation.metrics.sync.network import RATE
from mmdisco.evaluation.metrics.sync.scorer import Embedding, auc, by_delay, lag

MOST: Final = 2000
_SHUFFLES: Final = 10


@dataclass(frozen=True)
class AvAlign(Metric):
    """AV-Align in one of its variants.

    Attributes:
        variant: The variant.
    """

    variant: AvAlignVariant
    extractor = "peaks"
    needs_reference = False
    min_clips = 10

    @property
    def name(self) -> str:
        """Name with the variant, since absolute values of different variants are not comparable."""
        return f"AV-Align ({self.variant.name})"

    @override
    def compute(self, sets: EvaluationData) -> list[Outcome]:
        records = [one for _, one in sets.generated.chosen(self.extractor, MOST, sets.seed)]

        def score(sound: int, picture: int) -> float:
            seen = records[picture]
            return self.variant.score(
                records[sound]["onsets"], seen["motion"], float(seen["fps"][0])
            )

        silent = sum(not len(one["onsets"]) for one in records)
        notes = f"{silent} clips without an onset" if silent else ""
        figure = against_shuffles(self.name, len(records), score, sets.seed, notes)
        return [figure]


@dataclass(frozen=True)
class Synchrony(Metric):
    """Synchrony by the sync scorer: true against shuffled pairs, and the lag."""

    title = "synchrony"
    extractor = "sync-scorer"
    needs_reference = False
    min_clips = 2 * GROUPS

    @property
    @override
    def name(self) -> str:
        return self.title

    def compute(self, sets: EvaluationData) -> list[Outcome]:
        """Measure AUC, mean lag and mean absolute lag."""
        found = self._of(sets.generated, sets.seed)
        if isinstance(found, Skipped):
            return [found]
        baseline = {"shuffled against shuffled": found.honest}
        lags = {}
        if sets.reference is not None:
            real = self._of(sets.reference, sets.seed)
            if isinstance(real, _SyncScores):
                baseline["reference"] = real.auc.value
                lags = {"reference": float(np.abs(real.lags).mean())}
        value = found.auc
        return [
            MetricResult(
                "synchrony, AUC paired against shuffled",
                value.value,
                value.interval,
                len(found.lags),
                higher_is_better=True,
                baseline=baseline,
                notes="0.5 is chance; the scorer is not the discriminator that guides",
            ),
            mean_result(
                "synchrony, mean lag in seconds",
                found.lags,
                higher_is_better=None,
                notes="positive if sound comes after its picture; most 0.6 s",
                curve=Curve("seconds that the sound is late, mean score", found.by_delay),
            ),
            mean_result(
                "synchrony, mean size of the lag in seconds",
                np.abs(found.lags),
                higher_is_better=False,
                baseline=lags,
            ),
        ]

    def _of(self, readings: Readings, seed: int) -> "_SyncScores | Skipped":
        records = [one for _, one in readings.chosen(self.extractor, MOST, seed)]
        if len(records) < self.min_clips:
            return Skipped(self.name, f"{self.min_clips} clips, not {len(records)}")
        steps = min(len(one["heard"]) for one in records)
        heard = [one["heard"][:steps] for one in records]
        seen = [one["seen"][:steps] for one in records]
        return sync_scores(heard, seen, seed)


@dataclass(frozen=True, eq=False, slots=True)
class _SyncScores:
    auc: Jackknife
    honest: float
    lags: np.ndarray
    by_delay: Mapping[float, float]


def sync_scores(heard: list[Embedding], seen: list[Embedding], seed: int) -> _SyncScores:
    """Score clips with equal numbers of steps."""
    own = np.array([_score(a, v) for a, v in zip(heard, seen, strict=True)])
    others = np.array(
        [
            [_score(heard[sound], seen[picture]) for picture, sound in enumerate(sounds)]
            for sounds in derangements(len(own), seed, _SHUFFLES)
        ]
    )
    half = len(others) // 2
    delays = np.mean([by_delay(a, v)[1] for a, v in zip(heard, seen, strict=True)], axis=0)
    return _SyncScores(
        Jackknife.over(lambda some: auc(own[some], others[:, some].ravel()), len(own)),
        auc(others[:half].ravel(), others[half:].ravel()),
        np.array([lag(a, v).seconds for a, v in zip(heard, seen, strict=True)]),
        dict(zip((by_delay(heard[0], seen[0])[0] / RATE).tolist(), delays.tolist(), strict=True)),
    )


@dataclass(frozen=True)
class ObjectsAgreement(Metric):
    """Exact agreement of video and sound in sounding objects."""

    title = "sounding objects"
    extractor = "objects"
    needs_reference = False
    min_clips = 10

    @property
    @override
    def name(self) -> str:
        return self.title

    def compute(self, sets: EvaluationData) -> list[Outcome]:
        """Measure agreement of events, material, size and kind."""
        records = [one for _, one in sets.generated.chosen(self.extractor, MOST, sets.seed)]
        scores: dict[str, Callable[[Record, Record], float]] = {
            f"events within {TIGHT:g} s, F1": _events,
            "same kind": lambda a, v: _same(a, v, 0),
            "same material": lambda a, v: _same(a, v, 1),
            "same size": lambda a, v: _same(a, v, 2),
        }

        def figure(name: str, one: Callable[[Record, Record], float]) -> MetricResult:
            def score(sound: int, picture: int) -> float:
                return one(records[sound], records[picture])

            return against_shuffles(f"{self.name}, {name}", len(records), score, sets.seed)

        return [figure(name, one) for name, one in scores.items()]


def _events(sound: Record, picture: Record) -> float:
    return event_f1(picture["seen_events"], sound["heard_events"], TIGHT)


def _same(sound: Record, picture: Record, place: int) -> float:
    heard, seen = int(sound["heard"][place]), int(picture["seen"][place])
    return float(heard >= 0 and heard == seen)


def _score(heard: Embedding, seen: Embedding) -> float:
    return float(np.vdot(heard, seen)) / len(heard)
