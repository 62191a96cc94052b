"""Audio-video agreement in a joint embedding space, as of ImageBind and PE-AV.

Works on vectors, independent of any network.
"""

from dataclasses import dataclass

import numpy as np
from typing_extensions import override

from mmdisco.errors import UserError
from mmdisco.evaluation.metrics.base import EvaluationData, Metric
from mmdisco.evaluation.metrics.result import Outcome, Skipped
from mmdisco.evaluation.metrics.shuffled_baseline import against_shuffles

MOST = 2000
FEATURES = "features"


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
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
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
