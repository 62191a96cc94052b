"""Cosine metrics in a joint embedding space.

Sound is compared with video, as by ImageBind and PE-AV, and clips with their prompts, as by CLIP
and CLAP. The metrics work on vectors, independent of any network.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from mmdisco.errors import UserError
from mmdisco.evaluation.metrics.base import EvaluationData, Metric, against_shuffles
from mmdisco.evaluation.metrics.result import Outcome, Skipped

MOST: Final = 2000
FEATURES: Final = "features"


@dataclass(frozen=True)
class CrossModal(Metric):
    """Mean cosine of each clip's sound with its video, with shuffled sounds as a baseline.

    Attributes:
        extractor: Name of the video extractor.
        hears: Name of the audio extractor.
    """

    extractor: str
    hears: str
    needs_reference = False
    min_clips = 10

    @property
    @override
    def name(self) -> str:
        return f"cross-modal agreement, {self.extractor} and {self.hears}"

    def compute(self, sets: EvaluationData) -> list[Outcome]:
        """Measure the mean cosine.

        Raises:
            UserError: The vectors of the modalities have different lengths.
        """
        found = sets.generated
        both = [
            (heard, seen)
            for index, seen in found.chosen(self.extractor, MOST, sets.seed)
            if (heard := found.record(self.hears, index)) is not None
        ]
        if len(both) < self.min_clips:
            return [Skipped(self.name, f"{self.min_clips} clips, not {len(both)}")]
        heard, seen = (
            np.stack([_direction(one[side][FEATURES]) for one in both]) for side in (0, 1)
        )
        if heard.shape != seen.shape:
            lengths = f"{seen.shape[1]} and {heard.shape[1]}"
            raise UserError(f"{self.name}: {lengths} features are no shared space")
        cosines = heard @ seen.T

        def score(sound: int, picture: int) -> float:
            return float(cosines[sound, picture])

        return [against_shuffles(self.name, len(both), score, sets.seed, "cosine")]


def _direction(features: np.ndarray) -> np.ndarray:
    return features / max(float(np.linalg.norm(features)), 1e-12)


DIRECTION: Final = "direction"  # name of an extractor's embedding in the space of texts

Directions = npt.NDArray[np.floating]  # (texts, dimensions)


class TextScorer(ABC):
    """Text embeddings of length 1, in the space of an extractor's ``direction``."""

    @abstractmethod
    def directions(self, texts: Sequence[str]) -> Directions:
        """Embed at least one text, one row per text."""


@dataclass(frozen=True)
class TextAgreement(Metric):
    """Mean cosine of each clip with its prompt, with shuffled prompts as a baseline.

    Attributes:
        extractor: Name of the extractor of the clips.
        tower: Text encoder.
    """

    extractor: str
    tower: TextScorer
    title = "text agreement"
    needs_reference = False
    min_clips = 10

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
