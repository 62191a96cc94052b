"""Distances of two sets of features: Fréchet, kernel, and by nearest neighbours.

Independent of networks and clips. The Fréchet distance takes either set as a Gaussian (Heusel et
al. 2017, eq. 6); its statistics are sums, so that clips may come in batches and from several runs.
``Whitening`` gives coordinates in which features of real clips vary equally in every direction: a
distance sums over features in whatever units they have, so that a fault in a feature of small
variance, or in the relation of two, is masked by the variance of the rest.

The kernel distance (Bińkowski et al. 2018) is unbiased at any sample size:
MMD² = E k(x, x′) + E k(y, y′) − 2 E k(x, y) with k(x, y) = (x·y / d + 1)³, each mean over distinct
clips only. It may be negative where both sets are alike.

Precision and recall after Kynkäänniemi et al. 2019, density and coverage after Naeem et al. 2020:
the ball around each clip has the distance to its k-th nearest clip of the same set as radius.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from mmdisco.errors import UserError
from mmdisco.evaluation.metrics.result import GROUPS, Jackknife

Features = npt.NDArray[np.floating]  # (clips, dimensions)
Sums = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class FeatureStatistics:
    """Sufficient statistics of a set of features for the distance.

    Attributes:
        count: Number of clips.
        total: Sum of their features, (dimensions,).
        products: Sum of the outer products of each feature vector with itself, (dimensions,
            dimensions).
    """

    count: int
    total: Sums
    products: Sums

    def __post_init__(self) -> None:
        if self.total.ndim != 1 or self.products.shape != 2 * self.total.shape:
            raise ValueError(
                f"total and products must be (d,) and (d, d), not {self.total.shape} and "
                f"{self.products.shape}"
            )

    @staticmethod
    def of(features: Features) -> "FeatureStatistics":
        """Compute the statistics of a batch (clips, dimensions), which may be empty.

        Raises:
            UserError: A feature is not finite.
        """
        if features.ndim != 2:
            raise ValueError(f"features must be (clips, dimensions), not {features.shape}")
        if not np.isfinite(features).all():
            raise UserError("a clip has features that are not finite: leave broken clips out")
        exact = features.astype(np.float64)
        return FeatureStatistics(len(exact), exact.sum(0), exact.T @ exact)

    def merge(self, other: "FeatureStatistics") -> "FeatureStatistics":
        """Merge both sets; the order does not matter, up to rounding."""
        _check_dimensions(self, other)
        return FeatureStatistics(
            self.count + other.count, self.total + other.total, self.products + other.products
        )

    @property
    def dimensions(self) -> int:
        """Length of a feature vector."""
        return len(self.total)

    @property
    def mean(self) -> Sums:
        """Mean, (dimensions,); needs at least one clip."""
        return self.total / self.count

    @property
    def covariance(self) -> Sums:
        """Unbiased covariance, (dimensions, dimensions); needs at least two clips."""
        centred = self.products - np.outer(self.total, self.total) / self.count
        return centred / (self.count - 1)


def frechet_distance(first: FeatureStatistics, second: FeatureStatistics) -> float:
    """Compute |μ₁ − μ₂|² + tr(S₁ + S₂ − 2 (S₁ S₂)^½), at least 0 (Dowson and Landau 1982).

    With few clips it is biased upwards: compare sets of equal size only.

    Raises:
        UserError: A set has too few clips for its covariance to have full rank.
    """
    _check_dimensions(first, second)
    for one in (first, second):
        if one.count <= one.dimensions:
            raise UserError(
                f"a Fréchet distance of {one.dimensions} features needs at least "
                f"{one.dimensions + 1} clips, not {one.count}: give more clips"
            )
    between = first.mean - second.mean
    spreads = np.trace(first.covariance) + np.trace(second.covariance)
    shared = _trace_of_root(first.covariance, second.covariance)
    return max(float(between @ between + spreads - 2 * shared), 0.0)


def _trace_of_root(first: Sums, second: Sums) -> float:
    """Compute tr (S₁ S₂)^½ as tr (S₁^½ S₂ S₁^½)^½: the two products have the same eigenvalues.

    Only the second is symmetric, and a symmetric root stays real where rounding makes a vanishing
    eigenvalue negative.
    """
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    shared = np.linalg.eigvalsh(root @ second @ root)
    return float(np.sqrt(np.maximum(shared, 0)).sum())


def _check_dimensions(first: FeatureStatistics, second: FeatureStatistics) -> None:
    if first.dimensions != second.dimensions:
        raise ValueError(f"features have {first.dimensions} and {second.dimensions} dimensions")


@dataclass(frozen=True)
class Whitening:
    """Degree of whitening.

    Attributes:
        ridge: Added to the variance of every principal component, relative to their mean; keeps
            directions in which real clips hardly vary from dominating all others.
    """

    ridge: float = 0.1

    def of(self, reference: FeatureStatistics) -> "Coordinates":
        """Compute coordinates centred on the reference, along its principal components."""
        values, vectors = np.linalg.eigh(reference.covariance)
        variances = np.maximum(values, 0) + self.ridge * values.mean()
        return Coordinates(reference.mean, vectors / np.sqrt(variances))


@dataclass(frozen=True, eq=False, slots=True)
class Coordinates:
    """Affine map of features.

    Attributes:
        origin: (dimensions,).
        axes: (dimensions, dimensions); multiplies features minus origin.
    """

    origin: Sums
    axes: Sums

    def __call__(self, given: FeatureStatistics) -> FeatureStatistics:
        """Map statistics directly, without the features."""
        total = (given.total - given.count * self.origin) @ self.axes
        across = np.outer(given.total, self.origin)
        products = given.products - across - across.T
        products += given.count * np.outer(self.origin, self.origin)
        return FeatureStatistics(given.count, total, self.axes.T @ products @ self.axes)


@dataclass(frozen=True, eq=False, slots=True)
class KernelSums:
    """Sums of the kernel over pairs of groups; they give the distance with or without a group.

    Attributes:
        within: Sums within the first set, (groups, groups), no clip with itself.
        others: Sums within the second set.
        across: Sums of the first set with the second.
        sizes: Clips in each group of both sets, (2, groups).
    """

    within: Sums
    others: Sums
    across: Sums
    sizes: Sums

    @staticmethod
    def of(first: Features, second: Features, groups: int = GROUPS) -> "KernelSums":
        """Sum over features (n, d) and (m, d)."""
        sizes = np.array(
            [np.bincount(np.arange(len(x)) % groups, minlength=groups) for x in (first, second)]
        )
        return KernelSums(
            _sums(first, first, groups, same=True),
            _sums(second, second, groups, same=True),
            _sums(first, second, groups, same=False),
            sizes.astype(np.float64),
        )

    def distance(self, without: int | None = None) -> float:
        """Compute MMD² of all clips, or of those not in one group."""
        kept = np.arange(len(self.within)) != (-1 if without is None else without)
        n, m = self.sizes[:, kept].sum(1)
        within, others, across = (
            float(sums[np.ix_(kept, kept)].sum())
            for sums in (self.within, self.others, self.across)
        )
        return within / (n * (n - 1)) + others / (m * (m - 1)) - 2 * across / (n * m)


def kernel_jackknife(first: Features, second: Features) -> Jackknife:
    """Compute MMD² with its standard error; needs more clips than twice the groups."""
    sums = KernelSums.of(first, second)
    return Jackknife.of(sums.distance(), [sums.distance(k) for k in range(GROUPS)])


def _sums(first: Features, second: Features, groups: int, *, same: bool) -> Sums:
    """Sum the kernel by group, a block of rows at a time, so that memory stays small."""
    rows, columns = np.arange(len(first)) % groups, np.arange(len(second)) % groups
    total = np.zeros((groups, groups))
    right = second.astype(np.float64)
    indicator = np.eye(groups)[columns]
    for start in range(0, len(first), 512):
        left = first[start : start + 512].astype(np.float64)
        values = (left @ right.T / first.shape[1] + 1) ** 3
        if same:
            values[np.arange(len(left)), start + np.arange(len(left))] = 0
        np.add.at(total, rows[start : start + 512], values @ indicator)
    return total


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
