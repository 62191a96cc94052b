"""Interface of metrics over sets of clips."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from mmdisco.evaluation.metrics.features import Readings
from mmdisco.evaluation.metrics.result import Outcome, Skipped


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
        name: Name for options and reports.
        extractor: Name of the extractor.
        min_clips: Minimum number of generated and of reference clips.
        needs_reference: Whether it needs reference clips.
        more: Further requirements, where clips alone do not meet them; may be empty.
    """

    name: str
    extractor: str
    min_clips: int
    needs_reference: bool
    more: str = ""

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
