"""Distance of generated clips to training clips, compared with that of held-out clips."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from mmdisco.evaluation.metrics.base import EvaluationData, Metric
from mmdisco.evaluation.metrics.distances import Nearest, nearest
from mmdisco.evaluation.metrics.fidelity import FEATURES, MOST, spread_of
from mmdisco.evaluation.metrics.result import Outcome, Skipped, mean_result

CLOSE: Final = 0.05  # share of held-out clips that are called close
ENOUGH: Final = 100  # held-out clips below which the threshold of closeness is too noisy
_SHOWN: Final = 3


@dataclass(frozen=True)
class NearestTraining(Metric):
    """Distances to the nearest training clip in an extractor's features.

    Without training clips the reference takes their place, and each of its clips is compared with
    the others.

    Attributes:
        extractor: Name of the extractor.
    """

    extractor: str
    title = "nearest training clip"
    needs_reference = True
    min_clips = 20

    def compute(self, sets: EvaluationData) -> list[Outcome]:
        """Measure the mean distance, and the share closer than 95 % of held-out clips are."""
        assert sets.reference is not None
        given = sets.training is not None
        training = sets.training or sets.reference
        if training.count(self.extractor) < 2:
            return [Skipped(self.name, "two training clips that it can read")]
        rows = {
            name: one.chosen(self.extractor, MOST, sets.seed)
            for name, one in (
                ("generated", sets.generated),
                ("held-out", sets.reference),
                ("training", training),
            )
        }
        matrix = {name: np.stack([r[FEATURES] for _, r in found]) for name, found in rows.items()}
        spread = spread_of(matrix["training"])
        own, held, known = (matrix[name] / spread for name in ("generated", "held-out", "training"))
        near = nearest(own, known)
        others = nearest(held, known, same=not given)
        closest = ", ".join(
            f"{sets.generated.names[rows['generated'][k][0]]} – "
            f"{training.names[rows['training'][int(near.index[k])][0]]} ({near.distance[k]:.3g})"
            for k in near.distance.argsort()[:_SHOWN]
        )
        against = "held-out clips" if given else "reference clips among themselves"
        return [
            mean_result(
                f"{self.name}, mean distance",
                near.distance,
                higher_is_better=None,
                baseline={against: float(others.distance.mean())},
                notes=f"closest: {closest}",
            ),
            self._share(near, others, against),
        ]

    def _share(self, near: Nearest, others: Nearest, against: str) -> Outcome:
        name = f"{self.name}, share that is close"
        if len(others.distance) < ENOUGH:
            return Skipped(name, f"{ENOUGH} reference clips, not {len(others.distance)}")
        limit = float(np.quantile(others.distance, CLOSE))
        close = (near.distance < limit).astype(np.float64)
        return mean_result(
            name,
            close,
            higher_is_better=None,
            baseline={against: CLOSE},
            notes=f"closer than {limit:.3g}, as {CLOSE:.0%} of {against} are; much more is memory",
        )
