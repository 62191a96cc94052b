"""Parameterizations of a denoiser's output, and conversions to and from ε.

With x_t = α x_0 + σ ε, every parameterization is linear in (x_t, ε), so a change Δε of the
noise changes the output by a factor that depends on the level alone (``gain``).
"""

from abc import ABC, abstractmethod

from torch import Tensor
from typing_extensions import override

from mmdisco.core.noise import NoiseLevel, broadcast_like
from mmdisco.io.shapes import Latent, PerSample


class Prediction(ABC):
    """Parameterization of the denoiser's output."""

    @abstractmethod
    def to_eps(self, output: Latent, x_t: Latent, level: NoiseLevel) -> Latent:
        """Convert the network's output to ε."""

    @abstractmethod
    def from_eps(self, eps: Latent, x_t: Latent, level: NoiseLevel) -> Latent:
        """Convert ε to the network's output."""

    @abstractmethod
    def gain(self, level: NoiseLevel) -> PerSample:
        """Return the change of the output for a unit change of ε at fixed x_t."""


class Epsilon(Prediction):
    """ε, the noise itself."""

    @override
    def to_eps(self, output: Latent, x_t: Latent, level: NoiseLevel) -> Latent:
        return output

    @override
    def from_eps(self, eps: Latent, x_t: Latent, level: NoiseLevel) -> Latent:
        return eps

    @override
    def gain(self, level: NoiseLevel) -> PerSample:
        return level.alpha * 0 + 1


class CleanSample(Prediction):
    """x_0, the clean sample; undefined at σ = 0."""

    @override
    def to_eps(self, output: Latent, x_t: Latent, level: NoiseLevel) -> Latent:
        return (x_t - broadcast_like(level.alpha, x_t) * output) / broadcast_like(level.sigma, x_t)

    @override
    def from_eps(self, eps: Latent, x_t: Latent, level: NoiseLevel) -> Latent:
        return level.predict_x0(x_t, eps)

    @override
    def gain(self, level: NoiseLevel) -> PerSample:
        return -level.sigma / level.alpha


class VPrediction(Prediction):
    """v = α ε − σ x_0 (Salimans & Ho 2022)."""

    @override
    def to_eps(self, output: Latent, x_t: Latent, level: NoiseLevel) -> Latent:
        alpha, sigma = _factors(level, x_t)
        return (alpha * output + sigma * x_t) / (alpha.square() + sigma.square())

    @override
    def from_eps(self, eps: Latent, x_t: Latent, level: NoiseLevel) -> Latent:
        alpha, sigma = _factors(level, x_t)
        return alpha * eps - sigma * level.predict_x0(x_t, eps)

    @override
    def gain(self, level: NoiseLevel) -> PerSample:
        return level.alpha + level.sigma.square() / level.alpha


class FlowVelocity(Prediction):
    """u = ε − x_0, the derivative of x_t in σ on the path α = 1 − σ (Lipman et al. 2023)."""

    @override
    def to_eps(self, output: Latent, x_t: Latent, level: NoiseLevel) -> Latent:
        alpha, sigma = _factors(level, x_t)
        return (x_t + alpha * output) / (alpha + sigma)

    @override
    def from_eps(self, eps: Latent, x_t: Latent, level: NoiseLevel) -> Latent:
        return eps - level.predict_x0(x_t, eps)

    @override
    def gain(self, level: NoiseLevel) -> PerSample:
        return 1 + level.sigma / level.alpha


def _factors(level: NoiseLevel, x: Latent) -> tuple[Tensor, Tensor]:
    return broadcast_like(level.alpha, x), broadcast_like(level.sigma, x)
