"""Clean pairs of latents with their captions, independent of their origin."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Generator, Tensor

from mmdisco.core.av import AV
from mmdisco.core.denoiser import Conditioning


@dataclass(frozen=True)
class Pairs:
    """A batch of clean pairs.

    Attributes:
        z_0: Latents of either modality, batch first, float32.
        cond: Encoded captions, one per pair and modality.
    """

    z_0: AV[Tensor]
    cond: AV[Conditioning]

    @property
    def text(self) -> AV[Tensor]:
        """Pooled captions of either modality, as a discriminator reads them."""
        return self.cond.map(lambda one: one.pooled)

    def __len__(self) -> int:
        return len(self.z_0.audio)


class PairSource(ABC):
    """Source of real pairs, or of pairs sampled from the base."""

    @abstractmethod
    def draw(self, count: int, generator: Generator) -> Pairs:
        """Draw ``count`` random pairs, with the generator as the only source of randomness."""
