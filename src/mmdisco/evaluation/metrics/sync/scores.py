"""Scores of a set of clips from embeddings: true pairs against shuffled ones, and the lag.

Works on sequences of vectors, whose mean dot product is the score of a pair; uses no network.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from mmdisco.evaluation.metrics.sync.network import RATE
from mmdisco.evaluation.metrics.sync.scorer import Embedding

MOST: Final = 6  # steps that a sound may be late or early

Scores = npt.NDArray[np.floating]  # (sounds, pictures)


def auc(positive: Scores, negative: Scores) -> float:
    """Compute the probability that a positive scores above a negative, ties counted half.

    The area under the ROC curve (Mann and Whitney 1947).

    Args:
        positive: (n,), n ≥ 1.
        negative: (m,), m ≥ 1.
    """
    ranks = rankdata(np.concatenate([positive, negative]))
    n, m = len(positive), len(negative)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def pair_auc(scores: Scores) -> float:
    """Compute the AUC of the diagonal, the true pairs, against all shuffled pairs."""
    own = np.eye(len(scores), dtype=bool)
    return auc(scores[own], scores[~own])


def shuffled_auc(scores: Scores, seed: int, most: int = 20) -> float:
    """Compute the AUC of every other shuffle against the rest: 0.5 for an unbiased scorer.

    Over a single shuffle it would vary widely for few clips.
    """
    order = np.random.default_rng(seed).permutation(len(scores))
    moved = [scores[order, np.roll(order, k)] for k in range(1, min(most, len(scores) - 1) + 1)]
    return auc(np.concatenate(moved[::2]), np.concatenate(moved[1::2]))


@dataclass(frozen=True, slots=True)
class Lag:
    """Lag of a sound.

    Attributes:
        seconds: Positive if the sound comes after its video; between tenths by a parabola.
        peak: Score at the best whole step, minus the mean over all steps tried.
    """

    seconds: float
    peak: float


def lag(sound: Embedding, picture: Embedding, most: int = MOST) -> Lag:
    """Find the delay at which sound and video fit best, at most ``most`` steps either way.

    At least half of the clip overlaps at every delay tried, so ``most`` is lowered in short clips.
    """
    steps, scores = by_delay(sound, picture, most)
    best = int(scores.argmax())
    offset = 0.0
    if 0 < best < len(scores) - 1:
        before, at, after = scores[best - 1 : best + 2]
        bend = before - 2 * at + after
        offset = 0.5 * (before - after) / bend if bend < 0 else 0.0
    return Lag(float(steps[best] + offset) / RATE, float(scores[best] - scores.mean()))


def by_delay(
    sound: Embedding, picture: Embedding, most: int = MOST
) -> tuple[npt.NDArray[np.int_], Scores]:
    """Score the pair at each delay of the sound, in steps."""
    most = min(most, len(sound) // 2)
    steps = np.arange(-most, most + 1)
    return steps, np.array([_overlap(sound, picture, int(step)) for step in steps])


def _overlap(sound: Embedding, picture: Embedding, step: int) -> float:
    """Compute the mean dot product where the sound is taken ``step`` steps later than the video."""
    later, earlier = sound[max(0, step) :], picture[max(0, -step) :]
    length = min(len(later), len(earlier))
    return float(np.einsum("td,td->", later[:length], earlier[:length]) / length)
