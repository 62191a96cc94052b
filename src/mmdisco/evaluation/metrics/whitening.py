"""Coordinates in which the features of real clips are spread alike in every direction.

A distance sums over features in whatever units they have, so that a fault that moves one feature
of small spread, or two features against each other, drowns in the spread of the rest.
"""

from dataclasses import dataclass

import numpy as np

from mmdisco.evaluation.metrics.frechet import FeatureStatistics, Sums


@dataclass(frozen=True)
class Whitening:
    """How far features are whitened.

    Attributes:
        ridge: Added to the variance of every principal component, in parts of their mean; keeps
            directions in which real clips hardly vary from outweighing all others.
    """

    ridge: float = 0.1

    def of(self, reference: FeatureStatistics) -> "Coordinates":
        """Coordinates centred on the reference, along its principal components."""
        values, vectors = np.linalg.eigh(reference.covariance)
        variances = np.maximum(values, 0) + self.ridge * values.mean()
        return Coordinates(reference.mean, vectors / np.sqrt(variances))


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
