"""The interface of metrics over sets of clips."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from mmdisco.evaluation.metrics.features import Readings
from mmdisco.evaluation.metrics.result import Outcome, Skipped


@dataclass(frozen=True, slots=True)
class EvaluationData:
    """The clips of an evaluation, as read.

    Attributes:
        generated: What is measured.
        reference: Real clips; ``None`` if there are none.
        training: What the generator was trained on; ``None`` if it is not known.
        seed: Of everything that is drawn.
    """

    generated: Readings
    reference: Readings | None = None
    training: Readings | None = None
    seed: int = 0


class Metric(ABC):
    """Figures over what one extractor reads.

    Attributes:
        name: For options and reports.
        extractor: The name of the extractor it reads from.
        least: Generated and reference clips that it needs at least.
        compares: Whether it needs reference clips.
        more: What it needs besides, where clips alone do not say it; may be empty.
    """

    name: str
    extractor: str
    least: int
    compares: bool
    more: str = ""

    @abstractmethod
    def figures(self, sets: EvaluationData) -> list[Outcome]:
        """The figures of ``sets`` that have enough clips; ``measure`` sees to that."""

    def measure(self, sets: EvaluationData) -> list[Outcome]:
        """The figures, or what is missing for them."""
        generated = sets.generated.count(self.extractor)
        if generated < self.least:
            return [Skipped(self.name, f"{self.least} clips that it can read, not {generated}")]
        if not self.compares:
            return self.figures(sets)
        if sets.reference is None:
            return [Skipped(self.name, "reference clips: give --reference")]
        reference = sets.reference.count(self.extractor)
        if reference < self.least:
            needs = f"{self.least} reference clips that it can read, not {reference}"
            return [Skipped(self.name, needs)]
        return self.figures(sets)
