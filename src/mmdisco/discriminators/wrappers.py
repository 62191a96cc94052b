"""Discriminators that wrap or replace another one."""

from dataclasses import replace

import torch
from torch import Tensor
from typing_extensions import override

from mmdisco.core.av import AV
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.noise import NoiseLevel
from mmdisco.shapes import Logit


class ZeroLogit(Discriminator):
    """Discriminator with logit 0 for every pair: the unguided baseline."""

    @override
    def forward(self, z_t: AV[Tensor], level: AV[NoiseLevel], text: AV[Tensor]) -> Logit:
        return z_t.audio.new_zeros(len(z_t.audio))


class OnDevice(Discriminator):
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
        logits = self.discriminator.pairwise_logits(*self._all_there(z_t, level, text), size)
        return logits.to(z_t.audio.device)

    def _all_there(
        self, z_t: AV[Tensor], level: AV[NoiseLevel], text: AV[Tensor]
    ) -> tuple[AV[Tensor], AV[NoiseLevel], AV[Tensor]]:
        return z_t.map(self._there), level.map(self._level), text.map(self._there)

    def _there(self, x: Tensor) -> Tensor:
        return x.to(self._device)

    def _level(self, level: NoiseLevel) -> NoiseLevel:
        t, alpha, sigma = map(self._there, (level.t, level.alpha, level.sigma))
        return replace(level, t=t, alpha=alpha, sigma=sigma)
