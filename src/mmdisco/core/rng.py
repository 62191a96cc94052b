"""Random numbers of a run, independent of models and schedulers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from mmdisco.core.av import AV, each


@dataclass(frozen=True)
class NoiseSource:
    """One generator per sample and modality, so that a sample never depends on its batch mates.

    Attributes:
        generators: Per modality one generator for each sample, or a single one for a whole batch.
    """

    generators: AV[list[Generator]]

    @staticmethod
    def from_seeds(seeds: Sequence[int]) -> "NoiseSource":
        """Build a source for ``len(seeds)`` samples; one seed alone serves a batch of any size.

        Such a batch is drawn as one block, for studies of many small samples: a sample then
        depends on the batch it is drawn in.
        """
        audio, video = ([seeded_generator(seed, stream) for seed in seeds] for stream in (0, 1))
        return NoiseSource(AV(audio, video))

    def draw(self, shapes: AV[torch.Size], dtype: torch.dtype = torch.float32) -> AV[Tensor]:
        """Draw standard normal noise of whole batches, ``shapes`` with the batch in front."""
        return each(lambda shape, own: randn_tensor(shape, own, dtype), shapes, self.generators)


def randn_tensor(shape: torch.Size, generators: list[Generator], dtype: torch.dtype) -> Tensor:
    """Draw standard normal noise, each sample from its own generator, or all from a single one."""
    if len(generators) == 1:
        return torch.randn(shape, generator=generators[0], dtype=dtype)
    return torch.stack([torch.randn(shape[1:], generator=one, dtype=dtype) for one in generators])


def seeded_generator(seed: int, stream: int) -> Generator:
    """Return an independent generator for each (seed, stream), such as a step of training."""
    return torch.Generator().manual_seed(derived_seed(seed, stream))


def derived_seed(seed: int, stream: int) -> int:
    """Return an independent seed below 2⁶³ for each (seed, stream)."""
    # a hash of both, since neighbouring seeds and streams must be unrelated
    state = np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)[0]
    return int(state >> np.uint64(1))
