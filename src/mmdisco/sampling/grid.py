"""Where along a noise path a run of N steps stops. Knows paths; knows no solver."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch

from mmdisco.errors import UserError
from mmdisco.path import NoisePath
from mmdisco.shapes import Table


class Grid(ABC):
    """The u of a run's steps, from the most noise to the least."""

    @abstractmethod
    def stops(self, path: NoisePath, steps: int) -> Table:
        """``steps`` values of u, falling, in [0, 1]; the step after the last one ends at x_0."""


@dataclass(frozen=True)
class UniformTime(Grid):
    """Equal steps of u from 1 to 0, both ends included."""

    def stops(self, path: NoisePath, steps: int) -> Table:
        """From u = 1 to u = 0."""
        return torch.linspace(1, 0, _at_least_one(steps), dtype=torch.float64)


@dataclass(frozen=True)
class LeadingTime(Grid):
    """Equal steps that leave the top of the path out: u = k/N for k = N − 1, …, 0.

    The pipelines of Stable Diffusion space their timesteps so ("leading").
    """

    def stops(self, path: NoisePath, steps: int) -> Table:
        """From u = (N − 1)/N to u = 0."""
        return torch.arange(_at_least_one(steps) - 1, -1, -1, dtype=torch.float64) / steps


@dataclass(frozen=True)
class UniformLogSNR(Grid):
    """Equal steps of the log-SNR of whichever side is noisy (Lu et al. 2022, Section 3.2)."""

    resolution: int = 4096

    def stops(self, path: NoisePath, steps: int) -> Table:
        """The u of equally spaced log-SNR."""
        u = torch.linspace(0, 1, self.resolution, dtype=torch.float64)
        levels = path.levels(u)
        level = levels.video if levels.audio.is_clean else levels.audio
        falling = level.log_snr
        wanted = torch.linspace(
            float(falling[-1]), float(falling[0]), _at_least_one(steps), dtype=torch.float64
        )
        rising = falling.flip(0)
        right = torch.searchsorted(rising, wanted).clamp(1, self.resolution - 1)
        left = right - 1
        share = ((wanted - rising[left]) / (rising[right] - rising[left])).clamp(0, 1)
        backwards = u.flip(0)
        return backwards[left] + share * (backwards[right] - backwards[left])


def _at_least_one(steps: int) -> int:
    if steps < 1:
        raise UserError(f"{steps} sampling steps: ask for at least 1")
    return steps
