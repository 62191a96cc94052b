"""The release's bound on the logit, for parity with what it samples."""

from typing import Final

import torch
from torch import Tensor

from mmdisco.av import AV
from mmdisco.discriminator.base import Discriminator
from mmdisco.schedule import NoiseLevel
from mmdisco.shapes import Logit

EPSILON: Final = 1e-5


class ClampedLogit(Discriminator):
    """Another discriminator's logit, bounded as the released sampler bounds it.

        p = sigmoid(h),    h′ = ln(p + 1e-5) − ln(1 − p + 1e-5)

    |h′| stays below 11.52. The slope dh′/dh is 1 while |h| is below some 9 and falls to 0 beyond;
    in single precision it is exactly 0 above 17 or so. Where the wrapped discriminator is that
    certain there is then no guidance, so this is for reproducing the release and nothing else.
    """

    def __init__(self, discriminator: Discriminator) -> None:
        super().__init__()
        self.discriminator = discriminator

    def forward(self, z_t: AV[Tensor], level: AV[NoiseLevel], text: AV[Tensor]) -> Logit:
        """The bounded log ratio of each pair; see ``Discriminator``."""
        probability = torch.sigmoid(self.discriminator(z_t, level, text))
        return torch.log(probability + EPSILON) - torch.log1p(EPSILON - probability)
