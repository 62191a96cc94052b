"""Interface of metrics over sets of clips, and shuffled pairs as a baseline of alignment."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from mmdisco.evaluation.metrics.features import Readings
from mmdisco.evaluation.metrics.result import MetricResult, Outcome, Skipped, mean_result


@dataclass(frozen=True, slots=True)
class EvaluationData:
    """Extracted clips of an evaluation.

    Attributes:
        generated: Clips to measure.
        reference: Real clips; ``None`` if there are none.
        training: Training clips of the generator; ``None`` if unknown.
        seed: Seed of every random draw.
    """

    generated: Readings
    reference: Readings | None = None
    training: Readings | None = None
    seed: int = 0


class Metric(ABC):
    """Metric over the records of one extractor.

    Attributes:
        title: Name of the quantity.
        extractor: Name of the extractor.
        min_clips: Minimum number of generated and of reference clips.
        needs_reference: Whether it needs reference clips.
        more: Further requirements, where clips alone do not meet them; may be empty.
    """

    title: str
    extractor: str
    min_clips: int
    needs_reference: bool
    more: str = ""

    @property
    def name(self) -> str:
        """Name for reports: that of the quantity, and of the extractor."""
        return f"{self.title}, {self.extractor}"

    @abstractmethod
    def compute(self, sets: EvaluationData) -> list[Outcome]:
        """Compute the results of ``sets`` with enough clips, which ``measure`` ensures."""

    def measure(self, sets: EvaluationData) -> list[Outcome]:
        """Compute the results, or say what is missing."""
        generated = sets.generated.count(self.extractor)
        if generated < self.min_clips:
            return [Skipped(self.name, f"{self.min_clips} clips that it can read, not {generated}")]
        if not self.needs_reference:
            return self.compute(sets)
        if sets.reference is None:
            return [Skipped(self.name, "reference clips: give --reference")]
        reference = sets.reference.count(self.extractor)
        if reference < self.min_clips:
            needs = f"{self.min_clips} reference clips that it can read, not {reference}"
            return [Skipped(self.name, needs)]
        return self.compute(sets)


SHUFFLES: Final = 29

Score = Callable[[int, int], float]  # of the sound of one clip with the video of another
Places = npt.NDArray[np.intp]


def derangements(clips: int, seed: int, most: int = SHUFFLES) -> Iterator[Places]:
    """Yield for each video the clip whose sound it gets, never its own; each shuffle differs."""
    order = np.random.default_rng(seed).permutation(clips)
    back = np.argsort(order)
    for shift in range(1, min(most, clips - 1) + 1):
        yield np.roll(order, shift)[back]


def against_shuffles(
    name: str, clips: int, score: Score, seed: int, notes: str = ""
) -> MetricResult:
    """Average the score of true pairs, compared with shuffled pairs in units of their spread.

    Args:
        name: Name of the result.
        clips: Number of clips, at least two.
        score: Score of a sound and a video by the indices of their clips.
        seed: Seed of the shuffles.
        notes: Remarks.
    """
    own = np.array([score(k, k) for k in range(clips)], np.float64)
    means = [
        float(np.mean([score(int(sound), picture) for picture, sound in enumerate(sounds)]))
        for sounds in derangements(clips, seed)
    ]
    spread = float(np.std(means, ddof=1)) if len(means) > 1 else float("nan")
    gap = float(own.mean()) - float(np.mean(means))
    baseline = {
        "shuffled": float(np.mean(means)),
        "z": gap / spread if spread > 0 else float("nan"),
    }
    return mean_result(name, own, higher_is_better=True, baseline=baseline, notes=notes)
