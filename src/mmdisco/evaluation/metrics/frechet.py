"""Fréchet distance of two sets of features, each taken as a Gaussian (Heusel et al. 2017, eq. 6).

Independent of networks and clips. The statistics are sums, so that clips may come in batches and
from several runs. ``Whitening`` gives coordinates in which features of real clips vary equally in
every direction: a distance sums over features in whatever units they have, so that a fault in a
feature of small variance, or in the relation of two, is masked by the variance of the rest.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmdisco.errors import UserError

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
