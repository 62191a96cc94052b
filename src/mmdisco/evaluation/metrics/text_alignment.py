"""Agreement of clips with their prompts.

Works on embeddings in a joint space, as of CLIP and CLAP; uses no network.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from mmdisco.evaluation.metrics.base import EvaluationData, Metric
from mmdisco.evaluation.metrics.result import Outcome, Skipped
from mmdisco.evaluation.metrics.shuffled_baseline import against_shuffles

MOST: Final = 2000
DIRECTION: Final = "direction"  # name of an extractor's embedding in the space of texts

Directions = npt.NDArray[np.floating]  # (texts, dimensions)


class TextScorer(ABC):
    """Text embeddings of length 1, in the space of an extractor's ``direction``."""

    @abstractmethod
    def directions(self, texts: Sequence[str]) -> Directions:
        """Embed at min_clips one text, one row per text."""


@dataclass(frozen=True)
class TextAgreement(Metric):
    """Mean cosine of each clip with its prompt, with shuffled prompts as a baseline.

    Attributes:
        extractor: Name of the extractor of the clips.
        tower: Text encoder.
    """

    extractor: str
    tower: TextScorer
    needs_reference = False
    min_clips = 10

    @property
    @override
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return f"text agreement, {self.extractor}"

    def compute(self, sets: EvaluationData) -> list[Outcome]:
        """Measure the mean cosine, over the clips that have a prompt."""
        chosen = sets.generated.chosen(self.extractor, MOST, sets.seed)
        pairs = [
            (prompt, record[DIRECTION])
            for index, record in chosen
            if (prompt := sets.generated.prompt(index))
        ]
        if len(pairs) < self.min_clips:
            needs = (
                f"{self.min_clips} clips with a prompt in the JSON beside them, not {len(pairs)}"
            )
            return [Skipped(self.name, needs)]
        texts = sorted({prompt for prompt, _ in pairs})
        rows = {text: row for row, text in enumerate(texts)}
        own = np.array([rows[prompt] for prompt, _ in pairs])
        cosines = self.tower.directions(texts) @ np.stack([clip for _, clip in pairs]).T

        def score(text: int, clip: int) -> float:
            return float(cosines[own[text], clip])

        notes = f"cosine; {len(texts)} different prompts"
        if len(texts) == 1:
            notes += ": nothing to exchange"
        return [against_shuffles(self.name, len(pairs), score, sets.seed, notes)]
