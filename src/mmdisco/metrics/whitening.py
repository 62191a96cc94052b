"""Coordinates in which the features of real clips are spread alike in every direction.

A distance sums over features in whatever units they have, so that a fault that moves one feature
of small spread, or two features against each other, drowns in the spread of the rest.
"""

from dataclasses import dataclass

import numpy as np

from mmdisco.metrics.frechet import Features, FeatureStatistics, Sums


@dataclass(frozen=True)
class Whitening:
    """How far features are whitened.

    Attributes:
        ridge: Added to the variances of the principal components of features in standard
            deviations; keeps directions that hardly vary from outweighing all others.
    """

    ridge: float = 0.1

    def of(self, reference: FeatureStatistics) -> "Coordinates":
        """Coordinates centred on the reference, of unit variance there but for the ridge."""
        covariance = reference.covariance
        spread = spread_above_floor(np.sqrt(np.diag(covariance)))
        values, vectors = np.linalg.eigh(covariance / np.outer(spread, spread))
        scale = 1 / np.sqrt(np.maximum(values, 0) + self.ridge)
        return Coordinates(reference.mean, vectors * scale / spread[:, None])


@dataclass(frozen=True, eq=False, slots=True)
class Coordinates:
    """An affine map of features.

    Attributes:
        origin: (dimensions,).
        axes: (dimensions, dimensions); features minus origin times these.
    """

    origin: Sums
    axes: Sums

    def __call__(self, given: FeatureStatistics) -> FeatureStatistics:
        """Statistics of the mapped features, without the features."""
        total = (given.total - given.count * self.origin) @ self.axes
        across = np.outer(given.total, self.origin)
        products = given.products - across - across.T
        products += given.count * np.outer(self.origin, self.origin)
        return FeatureStatistics(given.count, total, self.axes.T @ products @ self.axes)


def spread_above_floor(spreads: Features) -> Features:
    """Standard deviations (dimensions,); of what hardly varies a tenth of the median one.

    A feature that is the same in all real clips would outweigh all others together.
    """
    return np.maximum(spreads, 0.1 * np.median(spreads) + 1e-6)
