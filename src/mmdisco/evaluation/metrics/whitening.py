"""Whitening: coordinates in which features of real clips vary equally in every direction.

A distance sums over features in whatever units they have, so that a fault in one feature of small
variance, or in the relation of two features, is masked by the variance of the rest.
"""

from dataclasses import dataclass

import numpy as np

from mmdisco.evaluation.metrics.frechet import FeatureStatistics, Sums


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
