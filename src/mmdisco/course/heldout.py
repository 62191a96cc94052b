"""How well a discriminator tells held-out pairs apart, level by level.

Real pairs stand against the bases' own, and against real ones whose sounds are exchanged. Exchanged
pairs are made of the same sounds and videos, so only a network that compares the two can tell.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmdisco.av import AV
from mmdisco.discriminator.base import Discriminator
from mmdisco.health.exchange import Exchange
from mmdisco.health.noising import logits
from mmdisco.health.scores import accuracy, ranking
from mmdisco.models import Conditioning
from mmdisco.path import NoisePath
from mmdisco.training.observer import Observer
from mmdisco.training.pairs import Pairs


@dataclass(frozen=True)
class HeldOut(Observer):
    """Measures every so many steps, always with the same noise.

    Attributes:
        real: Held-out real pairs.
        fake: The bases' own for the captions of held-out clips.
        exchanged: Rows of ``real`` whose sounds are exchanged; see ``exchange``.
        null: The encoded empty caption, batch size 1.
        path: That of training.
        levels: How many levels, at equal steps of u.
        every: Steps between two measures.
        seed: Of the noise.
    """

    real: Pairs
    fake: Pairs
    exchanged: Exchange
    null: AV[Conditioning]
    path: NoisePath
    levels: int
    every: int
    seed: int

    def look(self, step: int, network: Discriminator) -> Mapping[str, Any]:
        """The measure, at its steps."""
        return {} if step % self.every else {"held_out": self.measure(network)}

    def note(self, line: Mapping[str, Any]) -> None:
        """Nothing to do."""

    def measure(self, network: Discriminator) -> dict[str, Any]:
        """By level, from least noise to most.

        ``accuracy`` is the mean share of right signs of the logit on both sides. ``ranking`` is the
        chance that of a real and another pair the real one has the larger logit; 0.5 tells nothing.
        """
        rows: dict[str, list[float]] = {"angle": [], "u": []}
        fake = {"accuracy": list[float](), "ranking": list[float]()}
        shuffled = {"ranking": list[float]()}
        apart, exchanged = self.exchanged.pairs(self.real, self.null)
        for index in range(self.levels):
            u = (index + 0.5) / self.levels
            at = self.path.levels(torch.tensor([u], dtype=torch.float64))
            rows["u"].append(u)
            rows["angle"].append(float(torch.maximum(at.audio.angle, at.video.angle)))
            own, other = self._logits(network, u, self.real, self.fake)
            fake["accuracy"].append(accuracy(own, other))
            fake["ranking"].append(ranking(own, other))
            shuffled["ranking"].append(ranking(*self._logits(network, u, apart, exchanged)))
        return {**rows, "against_fake": fake, "against_shuffled": shuffled}

    def _logits(
        self, network: Discriminator, u: float, real: Pairs, other: Pairs
    ) -> tuple[Tensor, Tensor]:
        first, second = (logits(network, one, self.path, u, self.seed) for one in (real, other))
        return first, second
