"""What a frozen network predicts, and the way to ε and back. Knows no network.

With x_t = α x_0 + σ ε, every kind is linear in (x_t, ε), so a change Δε of the noise moves the
output by a factor that depends on the level alone (``gain``).
"""

from abc import ABC, abstractmethod

from torch import Tensor

from mmdisco.core.noise import NoiseLevel, broadcast_like
from mmdisco.shapes import Latent, PerSample


class Prediction(ABC):
    """A parameterisation of the denoiser's output."""

    @abstractmethod
    def to_eps(self, output: Latent, x_t: Latent, level: NoiseLevel) -> Latent:
        """ε from the network's output."""

    @abstractmethod
    def from_eps(self, eps: Latent, x_t: Latent, level: NoiseLevel) -> Latent:
        """The network's output from ε."""

    @abstractmethod
    def gain(self, level: NoiseLevel) -> PerSample:
        """Change of the output for a unit change of ε, x_t held."""


class Epsilon(Prediction):
    """The noise itself."""

    def to_eps(self, output: Latent, x_t: Latent, level: NoiseLevel) -> Latent:
        return output

    def from_eps(self, eps: Latent, x_t: Latent, level: NoiseLevel) -> Latent:
        return eps

    def gain(self, level: NoiseLevel) -> PerSample:
        return level.alpha * 0 + 1


class CleanSample(Prediction):
    """x_0; undefined at σ = 0."""

    def to_eps(self, output: Latent, x_t: Latent, level: NoiseLevel) -> Latent:
        return (x_t - broadcast_like(level.alpha, x_t) * output) / broadcast_like(level.sigma, x_t)

    def from_eps(self, eps: Latent, x_t: Latent, level: NoiseLevel) -> Latent:
        return level.predict_x0(x_t, eps)

    def gain(self, level: NoiseLevel) -> PerSample:
        return -level.sigma / level.alpha


class VPrediction(Prediction):
    """v = α ε − σ x_0 (Salimans & Ho 2022)."""

    def to_eps(self, output: Latent, x_t: Latent, level: NoiseLevel) -> Latent:
        alpha, sigma = _factors(level, x_t)
        return (alpha * output + sigma * x_t) / (alpha.square() + sigma.square())

    def from_eps(self, eps: Latent, x_t: Latent, level: NoiseLevel) -> Latent:
        alpha, sigma = _factors(level, x_t)
        return alpha * eps - sigma * level.predict_x0(x_t, eps)

    def gain(self, level: NoiseLevel) -> PerSample:
        return level.alpha + level.sigma.square() / level.alpha


class FlowVelocity(Prediction):
    """u = ε − x_0, the derivative of x_t in σ on the path α = 1 − σ (Lipman et al. 2023)."""

    def to_eps(self, output: Latent, x_t: Latent, level: NoiseLevel) -> Latent:
        alpha, sigma = _factors(level, x_t)
        return (x_t + alpha * output) / (alpha + sigma)

    def from_eps(self, eps: Latent, x_t: Latent, level: NoiseLevel) -> Latent:
        return eps - level.predict_x0(x_t, eps)

    def gain(self, level: NoiseLevel) -> PerSample:
        return 1 + level.sigma / level.alpha


def _factors(level: NoiseLevel, x: Latent) -> tuple[Tensor, Tensor]:
    return broadcast_like(level.alpha, x), broadcast_like(level.sigma, x)
