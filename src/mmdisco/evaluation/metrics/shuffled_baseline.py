"""Shuffled pairs, the baseline of every alignment metric."""

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from mmdisco.evaluation.metrics.result import MetricResult, mean_figure

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
    return mean_figure(name, own, higher_is_better=True, baseline=baseline, notes=notes)
