"""Precision, recall, density and coverage from nearest neighbours, and nearest training clips.

The ball around each clip has the distance to its k-th nearest clip of the same set as radius.
Precision and recall after Kynkäänniemi et al. 2019, density and coverage after Naeem et al. 2020.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from mmdisco.evaluation.metrics.frechet import Features

NEIGHBOURS: Final = 5
_ROWS: Final = 256

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Manifold:
    """One score per clip; the means are the results.

    Attributes:
        precision: Of generated clips, 1 inside any ball of a real one, else 0.
        density: Of generated clips, real balls around it over k; may exceed 1.
        recall: Of real clips, 1 inside any ball of a generated one.
        coverage: Of real clips, 1 if a generated one is inside its ball.
    """

    precision: Scores
    density: Scores
    recall: Scores
    coverage: Scores


def manifold(generated: Features, real: Features, k: int = NEIGHBOURS) -> Manifold:
    """Compute scores from features (n, d) and (m, d), both of more than ``k`` clips."""
    around_real, around_generated = _radii(real, k), _radii(generated, k)
    density, covered = np.zeros(len(generated)), np.zeros(len(real), bool)
    recalled = np.zeros(len(real), bool)
    for start in range(0, len(generated), _ROWS):
        part = slice(start, start + _ROWS)
        distances = _distances(generated[part], real)
        inside = distances < around_real
        density[part] = inside.sum(1) / k
        covered |= inside.any(0)
        recalled |= (distances < around_generated[part, None]).any(0)
    return Manifold(
        precision=(density > 0).astype(np.float64),
        density=density,
        recall=recalled.astype(np.float64),
        coverage=covered.astype(np.float64),
    )


@dataclass(frozen=True, eq=False, slots=True)
class Nearest:
    """Nearest other clip of each clip.

    Attributes:
        distance: Distance to it, (clips,).
        index: Its index, (clips,).
    """

    distance: Scores
    index: npt.NDArray[np.intp]


def nearest(clips: Features, among: Features, *, same: bool = False) -> Nearest:
    """Find the nearest of ``among`` to each of ``clips``; if both are the same set, another one."""
    distance, index = np.empty(len(clips)), np.empty(len(clips), np.intp)
    for start in range(0, len(clips), _ROWS):
        part = slice(start, start + _ROWS)
        distances = _distances(clips[part], among)
        if same:
            rows = np.arange(len(distances))
            distances[rows, start + rows] = np.inf
        index[part] = distances.argmin(1)
        distance[part] = distances.min(1)
    return Nearest(distance, index)


def _radii(clips: Features, k: int) -> Scores:
    parts = [
        # the nearest of all is the clip itself
        np.partition(_distances(clips[start : start + _ROWS], clips), k, axis=1)[:, k]
        for start in range(0, len(clips), _ROWS)
    ]
    return np.concatenate(parts)


def _distances(first: Features, second: Features) -> Scores:
    a, b = first.astype(np.float64), second.astype(np.float64)
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.sqrt(np.maximum(squares, 0))
