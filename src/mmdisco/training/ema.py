"""Exponential moving average of a network's weights."""

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


class MovingAverage(Generic[Module]):
    """A copy of a network whose weights trail behind.

    Args:
        network: The network to follow; copied, not kept.
        decay: Weight of the past in [0, 1); young averages forget faster, (1 + n) / (10 + n).
    """

    def __init__(self, network: Module, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)  # noqa: FBT003
        self._decay = decay

    def update(self, network: Module, step: int) -> None:
        """Move towards ``network`` after its ``step``-th update, counted from 0."""
        decay = min(self._decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for mean, value in zip(self.network.parameters(), network.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)
