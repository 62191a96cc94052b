"""Where the windows of cross-attention lie: the one random choice inside the network.

MM-Diffusion lets a frame see a few frames of sound, not its own but some steps further, and draws
how many afresh for every block and every evaluation. Here the draw is an object that a run is
given, and a function of seed, block and noise level: runs are repeatable, and no sample depends on
its batch mates. Knows no network.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from mmdisco.errors import UserError
from mmdisco.shapes import PerSample

# times between rows of the schedule must differ too, whatever sampler asks for them
TICKS = 2**16


class WindowShifts(ABC):
    """How far the windows of each block are shifted."""

    @abstractmethod
    def draw(self, t: PerSample, block: int, positions: int) -> list[int]:
        """The shift of each sample, in frames.

        Args:
            t: The network's time of each sample.
            block: Which cross-attention of the network asks, from 0.
            positions: Shifts are in [0, positions).
        """


@dataclass(frozen=True)
class NoShifts(WindowShifts):
    """Every frame sees from its own time on."""

    def draw(self, t: PerSample, block: int, positions: int) -> list[int]:
        """0 for every sample."""
        return [0] * len(t)


@dataclass(frozen=True)
class SeededShifts(WindowShifts):
    """Uniform shifts, settled by seed, block and time.

    Attributes:
        seeds: One a sample, or a single one for batches of any size.
    """

    seeds: tuple[int, ...]

    def draw(self, t: PerSample, block: int, positions: int) -> list[int]:
        """The shifts of ``seeds``.

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
