"""Discriminators that wrap or replace another one."""

from dataclasses import replace
from typing import Final

import torch
from torch import Tensor
from typing_extensions import override

from mmdisco.core.av import AV
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.noise import NoiseLevel
from mmdisco.core.replacement import Replacement
from mmdisco.discriminators.correlation import PairwiseDiscriminator, pairwise
from mmdisco.io.shapes import Logit

EPSILON: Final = 1e-5


class ZeroLogit(Discriminator):
    """Discriminator with logit 0 for every pair: the unguided baseline."""

    @override
    def forward(self, z_t: AV[Tensor], level: AV[NoiseLevel], text: AV[Tensor]) -> Logit:
        return z_t.audio.new_zeros(len(z_t.audio))


class OnDevice(PairwiseDiscriminator):
    """Wrapper that runs a discriminator on its own device; inputs and outputs stay outside.

    Args:
        discriminator: Moved to the device.
        device: Device of the computation.
    """

    def __init__(self, discriminator: Discriminator, device: torch.device) -> None:
        super().__init__()
        self.discriminator = discriminator.to(device)
        self._device = device

    @override
    def forward(self, z_t: AV[Tensor], level: AV[NoiseLevel], text: AV[Tensor]) -> Logit:
        logit = self.discriminator(*self._all_there(z_t, level, text))
        return logit.to(z_t.audio.device)

    @override
    def pairwise_logits(
        self, z_t: AV[Tensor], level: AV[NoiseLevel], text: AV[Tensor], size: int
    ) -> Tensor:
        own = pairwise(self.discriminator)
        return own.pairwise_logits(*self._all_there(z_t, level, text), size).to(z_t.audio.device)

    def _all_there(
        self, z_t: AV[Tensor], level: AV[NoiseLevel], text: AV[Tensor]
    ) -> tuple[AV[Tensor], AV[NoiseLevel], AV[Tensor]]:
        return z_t.map(self._there), level.map(self._level), text.map(self._there)

    def _there(self, x: Tensor) -> Tensor:
        return x.to(self._device)

    def _level(self, level: NoiseLevel) -> NoiseLevel:
        t, alpha, sigma = map(self._there, (level.t, level.alpha, level.sigma))
        return replace(level, t=t, alpha=alpha, sigma=sigma)


class ReplacementDiscriminator(Discriminator):
    """Discriminator whose clean side is noised to the timestep of the other.

    Args:
        discriminator: A discriminator with one noise level for both sides.
        replacement: Replacement method, which noises the given side.
    """

    def __init__(self, discriminator: Discriminator, replacement: Replacement) -> None:
        super().__init__()
        self.discriminator = discriminator
        self.replacement = replacement

    @override
    def forward(self, z_t: AV[Tensor], level: AV[NoiseLevel], text: AV[Tensor]) -> Logit:
        return self.discriminator(*self.replacement.noised(z_t, level), text)


class ClampedLogit(Discriminator):
    """Discriminator whose logit is bounded as in the released sampler.

        p = sigmoid(h),    h′ = ln(p + 1e-5) − ln(1 − p + 1e-5)

    |h′| stays below 11.52. The slope dh′/dh is 1 while |h| is below some 9 and falls to 0
    beyond; in single precision it is exactly 0 above 17 or so. Where the wrapped discriminator
    is that certain there is then no guidance, so this is for reproducing the release and
    nothing else.
    """

    def __init__(self, discriminator: Discriminator) -> None:
        super().__init__()
        self.discriminator = discriminator

    @override
    def forward(self, z_t: AV[Tensor], level: AV[NoiseLevel], text: AV[Tensor]) -> Logit:
        probability = torch.sigmoid(self.discriminator(z_t, level, text))
        return torch.log(probability + EPSILON) - torch.log1p(EPSILON - probability)
