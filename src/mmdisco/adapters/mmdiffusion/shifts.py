"""Shifts of the windows of cross-attention: the one random choice inside the network.

In MM-Diffusion a frame attends to a few frames of sound some steps away, and the distance is drawn
for every block and every evaluation. Here the draw is an object of the run, and a function of seed,
block and noise level: runs are repeatable, and no sample depends on its batch mates. Knows no
network.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from typing_extensions import override

from mmdisco.errors import UserError
from mmdisco.io.shapes import PerSample

# times between rows of the schedule must differ too
TICKS = 2**16


class WindowShifts(ABC):
    """Shifts of the windows of each block."""

    @abstractmethod
    def draw(self, t: PerSample, block: int, positions: int) -> list[int]:
        """Return the shift of each sample, in frames.

        Args:
            t: The network's time of each sample.
            block: Index of the cross-attention in the network, from 0.
            positions: Number of possible shifts, from 0.
        """


@dataclass(frozen=True)
class NoShifts(WindowShifts):
    """Shift 0: windows begin at a frame's own time."""

    @override
    def draw(self, t: PerSample, block: int, positions: int) -> list[int]:
        return [0] * len(t)


@dataclass(frozen=True)
class SeededShifts(WindowShifts):
    """Uniform shifts, a function of seed, block and time.

    Attributes:
        seeds: One seed per sample, or a single one for batches of any size.
    """

    seeds: tuple[int, ...]

    def draw(self, t: PerSample, block: int, positions: int) -> list[int]:
        """Draw the shifts of ``seeds``.

        Raises:
            UserError: There are neither one seed nor as many as samples.
        """
        if len(self.seeds) not in (1, len(t)):
            raise UserError(
                f"{len(self.seeds)} seeds of windows for {len(t)} samples: give one a sample"
            )
        seeds = self.seeds * len(t) if len(self.seeds) == 1 else self.seeds
        ticks = [round(one * TICKS) for one in t.tolist()]
        return [
            _uniform((seed, block, tick), positions)
            for seed, tick in zip(seeds, ticks, strict=True)
        ]


def _uniform(key: tuple[int, ...], count: int) -> int:
    # 64 bits, so that the remainder favours no shift
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] % count)
