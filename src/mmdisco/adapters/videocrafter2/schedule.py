"""Noise levels of VideoCrafter2's training.

The β table is linear in √β (Rombach et al. 2022), and the clean latent is scaled down as noise
grows: x_t = √ᾱ_t c_t x_0 + √(1 − ᾱ_t) ε, where c falls from 1 to 0.7 over the first 400 steps and
stays. So α² + σ² < 1 there: the scale belongs to α, and every sampler takes it into account.
"""

from typing import Final

import torch

from mmdisco.core.noise import NoiseSchedule, variance_preserving
from mmdisco.shapes import Table

STEPS: Final = 1000
FIRST: Final = 0.00085
LAST: Final = 0.012
FALLING: Final = 400
LOWEST: Final = 0.7


def clean_scales() -> Table:
    """Return c_t of each training timestep, float64."""
    falling = torch.linspace(1, LOWEST, FALLING, dtype=torch.float64)
    return torch.cat([falling, torch.full((STEPS - FALLING,), LOWEST, dtype=torch.float64)])


def training_betas() -> Table:
    """Return β_t of each training timestep, float64."""
    return torch.linspace(FIRST**0.5, LAST**0.5, STEPS, dtype=torch.float64).square()


def training_schedule() -> NoiseSchedule:
    """Return α = √ᾱ c and σ = √(1 − ᾱ) of each training timestep."""
    plain = variance_preserving(training_betas())
    return NoiseSchedule(plain.times, plain.alphas * clean_scales(), plain.sigmas)
