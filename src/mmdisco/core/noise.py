"""Noise levels and schedules: x_t = α_t x_0 + σ_t ε, whatever the family.

Variance preserving (VP), variance exploding (VE) and flow matching are all one (α, σ) table
over a network's own times t. Independent of samplers, networks and modalities.

A level is expressed in three ways: as ``t`` for the frozen network, as (α, σ) for the
mathematics, and as the noise angle for a discriminator. Only the ratio σ/α says how noisy a
latent is; the magnitude √(α² + σ²) is the family's choice of units, and dividing by it gives VP
units.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmdisco.io.shapes import Latent, PerSample, Table


@dataclass(frozen=True)
class NoiseLevel:
    """One noise level per sample.

    Attributes:
        t: The network's own time, in the unit of its schedule; 0 for a clean latent.
        alpha: α ≥ 0, the factor of the clean latent.
        sigma: σ ≥ 0, the standard deviation of the noise.
    """

    t: PerSample
    alpha: PerSample
    sigma: PerSample

    @staticmethod
    def clean(batch_size: int) -> "NoiseLevel":
        """Return the level of a latent without noise (α = 1, σ = 0), as a given side has it."""
        zeros = torch.zeros(batch_size, dtype=torch.float64)
        return NoiseLevel(t=zeros, alpha=zeros + 1, sigma=zeros)

    @property
    def is_clean(self) -> bool:
        """Whether no sample of the batch carries noise."""
        return not bool(self.sigma.any())

    @property
    def log_snr(self) -> PerSample:
        """ln(α²/σ²): +∞ for a clean latent."""
        return 2 * (self.alpha.log() - self.sigma.log())

    @property
    def angle(self) -> PerSample:
        """(2/π) atan(σ/α) in [0, 1]: 0 is clean, 1 is noise alone; finite at both ends."""
        return torch.atan2(self.sigma, self.alpha) * (2 / math.pi)

    @property
    def magnitude(self) -> PerSample:
        """√(α² + σ²): 1 for VP."""
        return torch.hypot(self.alpha, self.sigma)

    def add_noise(self, x_0: Latent, eps: Latent) -> Latent:
        """Apply the forward process x_t = α x_0 + σ ε."""
        return broadcast_like(self.alpha, x_0) * x_0 + broadcast_like(self.sigma, x_0) * eps

    def predict_x0(self, x_t: Latent, eps: Latent) -> Latent:
        """Return x̂_0 = (x_t − σ ε) / α; infinite where α = 0."""
        return (x_t - broadcast_like(self.sigma, x_t) * eps) / broadcast_like(self.alpha, x_t)

    def to_vp(self, x_t: Latent) -> Latent:
        """Return the same latent in VP units, α² + σ² = 1."""
        return x_t / broadcast_like(self.magnitude, x_t)

    def at(self, index: int) -> "NoiseLevel":
        """Return the level of one row, as a batch of one."""
        return self.take([index])

    def take(self, rows: Sequence[int]) -> "NoiseLevel":
        """Return the levels of some rows."""
        chosen = list(rows)
        return NoiseLevel(self.t[chosen], self.alpha[chosen], self.sigma[chosen])

    def expand(self, batch_size: int) -> "NoiseLevel":
        """Repeat the level of a single sample for a batch."""
        return NoiseLevel(
            self.t.expand(batch_size), self.alpha.expand(batch_size), self.sigma.expand(batch_size)
        )


def broadcast_like(per_sample: PerSample, x: Latent) -> Tensor:
    """Cast and reshape one number per sample so that it multiplies ``x``."""
    return per_sample.to(device=x.device, dtype=x.dtype).reshape(-1, *[1] * (x.ndim - 1))


@dataclass(frozen=True)
class NoiseSchedule:
    """Table of (α, σ) of one network, from least to most noise; float64.

    Attributes:
        times: The network's own time of each row, strictly increasing.
        alphas: α of each row.
        sigmas: σ of each row; σ/α is strictly increasing.
    """

    times: Table
    alphas: Table
    sigmas: Table

    def level(self, t: PerSample) -> NoiseLevel:
        """Return the level at the network's times ``t``, linear between rows, clamped at the ends.

        Linear interpolation is exact for flow matching, where times between rows are usual, and
        for every time that is a row.
        """
        t = t.to(torch.float64).clamp(float(self.times[0]), float(self.times[-1]))
        return NoiseLevel(
            t, interpolate(t, self.times, self.alphas), interpolate(t, self.times, self.sigmas)
        )

    def level_at_log_snr(self, log_snr: PerSample) -> NoiseLevel:
        """Return the level with a given ln(α²/σ²), clamped at the ends of the schedule."""
        # the log-SNR falls along the table, and searchsorted needs rising values
        falling = 2 * (self.alphas.log() - self.sigmas.log())
        t = interpolate(log_snr.to(torch.float64), falling.flip(0), self.times.flip(0))
        return self.level(t)

    def levels(self) -> NoiseLevel:
        """Return every row, as one batch."""
        return NoiseLevel(self.times, self.alphas, self.sigmas)


def interpolate(at: Tensor, knots: Tensor, values: Tensor) -> Tensor:
    """Interpolate linearly between values at rising knots, clamped at the ends."""
    right = torch.searchsorted(knots, at.contiguous()).clamp(1, len(knots) - 1)
    left = right - 1
    share = ((at - knots[left]) / (knots[right] - knots[left])).clamp(0, 1)
    return values[left] + share * (values[right] - values[left])


def variance_preserving(betas: Table) -> NoiseSchedule:
    """VP schedule of a β table: α_t² = Π (1 − β), σ_t² = 1 − α_t² (Ho et al. 2020, Eq. 4).

    Args:
        betas: β of each training timestep, in (0, 1).
    """
    alphas_cumprod = torch.cumprod(1 - betas.to(torch.float64), 0)
    return NoiseSchedule(
        times=torch.arange(len(betas), dtype=torch.float64),
        alphas=alphas_cumprod.sqrt(),
        sigmas=(1 - alphas_cumprod).sqrt(),
    )


def linear(steps: int = 1000, start: float = 1e-4, end: float = 0.02) -> NoiseSchedule:
    """VP schedule with β linear in t (Ho et al. 2020): diffusers' ``linear``."""
    return variance_preserving(torch.linspace(start, end, steps, dtype=torch.float64))


def scaled_linear(steps: int = 1000, start: float = 0.00085, end: float = 0.012) -> NoiseSchedule:
    """VP schedule with √β linear in t (Rombach et al. 2022): diffusers' ``scaled_linear``."""
    return variance_preserving(
        torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float64).square()
    )


def cosine(steps: int = 1000, shift: float = 1.0) -> NoiseSchedule:
    """VP schedule with ᾱ a squared cosine (Nichol & Dhariwal 2021, Eq. 17), β at most 0.999.

    Args:
        steps: Number of training timesteps.
        shift: Factor on α/σ; below 1 for noisier levels (Hoogeboom et al. 2023, Section 2.1).
    """
    u = torch.arange(steps + 1, dtype=torch.float64) / steps
    bar = torch.cos((u + 0.008) / 1.008 * (math.pi / 2)).square()
    alphas_cumprod = torch.cumprod(1 - (1 - bar[1:] / bar[:-1]).clamp(max=0.999), 0)
    snr = alphas_cumprod / (1 - alphas_cumprod) * shift**2
    return NoiseSchedule(
        times=torch.arange(steps, dtype=torch.float64),
        alphas=(snr / (1 + snr)).sqrt(),
        sigmas=(1 / (1 + snr)).sqrt(),
    )


def variance_exploding(
    steps: int = 1000, sigma_min: float = 0.01, sigma_max: float = 60.0
) -> NoiseSchedule:
    """VE schedule: α = 1, σ geometric in the row (Song et al. 2021, Section 3.4).

    Args:
        steps: Number of rows.
        sigma_min: σ of the first row.
        sigma_max: σ of the last row.
    """
    sigmas = torch.logspace(
        math.log10(sigma_min), math.log10(sigma_max), steps, dtype=torch.float64
    )
    return NoiseSchedule(torch.arange(steps, dtype=torch.float64), torch.ones_like(sigmas), sigmas)


def flow_matching(steps: int = 1000) -> NoiseSchedule:
    """Flow-matching schedule: α = 1 − σ with t = steps · σ (Lipman et al. 2023), without its ends.

    At σ = 0 there is no noise to predict, and at σ = 1 no noise prediction determines x_0;
    sampling starts one row below, an error of a thousandth of the schedule.
    """
    times = torch.arange(1, steps, dtype=torch.float64)
    return NoiseSchedule(times, 1 - times / steps, times / steps)
