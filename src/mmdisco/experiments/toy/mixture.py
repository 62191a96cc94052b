"""Gaussian mixtures, exact at every noise level, independent of modalities and networks.

The distribution of α x_0 + σ ε is again a mixture, with means α m_k and covariance A C A + S², A =
diag(α) and S = diag(σ). α and σ are given per coordinate, so the two halves of a pair may carry
different noise. All arithmetic is float64, as these distributions are the reference for everything
else.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from mmdisco.io.shapes import Components, Covariance, PerSample, Shares, Vector

# rows per chunk: the arrays for each component then stay in a processor's cache
ROWS = 512


@dataclass(frozen=True)
class Mixture:
    """Σ_k w_k N(m_k, C) with one covariance for all components; float64.

    Attributes:
        means: m_k, shape (k, d).
        covariance: C, shape (d, d), positive definite.
        weights: w_k, shape (k,), summing to 1.
    """

    means: Components
    covariance: Covariance
    weights: Shares

    def sample(self, count: int, generator: Generator) -> Vector:
        """Draw independent samples, float64."""
        component = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        return self._spread(component, generator)

    def sample_evenly(self, count: int, generator: Generator) -> Vector:
        """Draw each component in exact proportion to its weight, in random order.

        Each draw has the same distribution, with less scatter: for reference histograms.
        """
        share = self.weights * count
        times = share.floor().long()
        times[torch.argsort(times - share)[: count - int(times.sum())]] += 1
        component = torch.repeat_interleave(torch.arange(len(times)), times)
        return self._spread(component[torch.randperm(count, generator=generator)], generator)

    def _spread(self, component: Tensor, generator: Generator) -> Tensor:
        eps = torch.randn(len(component), self.means.shape[1], generator=generator).double()
        return self.means[component] + eps @ torch.linalg.cholesky(self.covariance).mT

    def marginal(self, start: int, stop: int) -> "Mixture":
        """Marginalise to coordinates ``start`` to ``stop - 1``, merging equal components."""
        means, merged = torch.unique(self.means[:, start:stop], dim=0, return_inverse=True)
        weights = torch.zeros(len(means)).double().index_add(0, merged, self.weights)
        return Mixture(means, self.covariance[start:stop, start:stop], weights)

    def log_density(self, x: Vector, alpha: Vector, sigma: Vector) -> PerSample:
        """Compute ln of the density of α x_0 + σ ε at ``x``; differentiable in ``x``."""
        return torch.cat(
            [torch.logsumexp(log_joint, dim=1) for log_joint, _ in self._parts(x, alpha, sigma)]
        )

    def score(self, x: Vector, alpha: Vector, sigma: Vector) -> Vector:
        """Compute ∇ log density of α x_0 + σ ε at ``x``: Σ_k r_k P (α m_k − x)."""
        return torch.cat(
            [
                (log_joint.softmax(dim=1)[:, None, :] @ pull)[:, 0]
                for log_joint, pull in self._parts(x, alpha, sigma)
            ]
        )

    def responsibilities(self, x: Vector) -> Tensor:
        """Compute p(k | x) for clean ``x``, shape (b, k)."""
        ones = torch.ones_like(x)
        return self._components(x, ones, 0 * ones)[0].softmax(dim=1)

    def _parts(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        for part in zip(x.split(ROWS), alpha.split(ROWS), sigma.split(ROWS), strict=True):
            yield self._components(*part)

    def _components(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        x, alpha, sigma = x.double(), alpha.double(), sigma.double()
        covariance = alpha[:, :, None] * self.covariance * alpha[:, None, :]
        covariance = covariance + torch.diag_embed(sigma.square())
        offset = alpha[:, None, :] * self.means - x[:, None, :]
        pull, log_determinant = _solve(covariance, offset)
        log_joint = self.weights.log() - 0.5 * (
            (offset * pull).sum(dim=2)
            + log_determinant[:, None]
            + x.shape[1] * math.log(2 * math.pi)
        )
        return log_joint, pull


def _solve(covariance: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
    """Compute C⁻¹ applied to each row of ``offset`` (b, k, d), and ln det C (b,)."""
    if covariance.shape[-1] == 1:  # many times faster than a factorisation of 1 × 1 matrices
        return offset / covariance, covariance[:, 0, 0].log()
    inverse = torch.linalg.inv(covariance)
    return offset @ inverse, torch.logdet(covariance)


def gaussian(covariance: list[list[float]]) -> Mixture:
    """Make N(0, C)."""
    table = torch.tensor(covariance, dtype=torch.float64)
    return Mixture(torch.zeros(1, len(table)).double(), table, torch.ones(1).double())


def isotropic(means: Tensor, deviation: float, weights: Tensor | None = None) -> Mixture:
    """Make round components of equal width, equally likely unless ``weights`` is given."""
    count, dimensions = means.shape
    return Mixture(
        means.double(),
        torch.eye(dimensions).double() * deviation**2,
        torch.full((count,), 1 / count).double() if weights is None else weights.double(),
    )
