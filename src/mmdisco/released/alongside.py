"""A released discriminator for one-sided generation."""

from torch import Tensor

from mmdisco.av import AV
from mmdisco.discriminator.base import Discriminator
from mmdisco.sampling.alongside import Alongside
from mmdisco.schedule import NoiseLevel
from mmdisco.shapes import Logit


class NoisedAlong(Discriminator):
    """Another discriminator, which is shown a clean side noised to the timestep of the other.

    Args:
        discriminator: One that knows one noise level for both sides.
        alongside: Noises the given side.
    """

    def __init__(self, discriminator: Discriminator, alongside: Alongside) -> None:
        super().__init__()
        self.discriminator = discriminator
        self.alongside = alongside

    def forward(self, z_t: AV[Tensor], level: AV[NoiseLevel], text: AV[Tensor]) -> Logit:
        """The other's logit; see ``Discriminator``."""
        noised = self.alongside.noised(z_t, level)
        return self.discriminator(noised.z_t, noised.level, text)
