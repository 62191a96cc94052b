"""How well a discriminator tells held-out pairs apart, level by level.

Real pairs stand against the bases' own, and against real ones whose sounds are exchanged. Exchanged
pairs are made of the same sounds and videos, so only a network that compares the two can tell.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import Tensor

from mmdisco.av import AV
from mmdisco.discriminator.base import Discriminator
from mmdisco.models import Conditioning
from mmdisco.path import NoisePath
from mmdisco.sampling.noise import generator_of
from mmdisco.training.observer import Observer
from mmdisco.training.pairs import Pairs
from mmdisco.training.repaired import side_by_side
from mmdisco.training.store import take

CHUNK: Final = 32  # pairs that a network is shown at once
STREAM: Final = 2**31  # of random numbers that no step of training draws from


@dataclass(frozen=True)
class Exchange:
    """Who gets whose sound.

    Attributes:
        rows: That take part.
        partners: Whose sound each of them gets.
        captioned: Whether captions are shown; both of a couple have the same one.
    """

    rows: Tensor
    partners: Tensor
    captioned: bool

    def pairs(self, real: Pairs, null: AV[Conditioning]) -> tuple[Pairs, Pairs]:
        """Rows as they are, and with the sounds of their partners."""
        own, other = take(real, self.rows), side_by_side(real, self.partners, self.rows)
        if self.captioned:
            return own, other
        empty = null.map(lambda one: _repeated(one, len(self.rows)))
        return replace(own, cond=empty), replace(other, cond=empty)


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
            own, other = self._logit(network, self.real, u), self._logit(network, self.fake, u)
            right = (own > 0).double().mean() + (other < 0).double().mean()
            fake["accuracy"].append(float(right) / 2)
            fake["ranking"].append(ranking(own, other))
            own, other = self._logit(network, apart, u), self._logit(network, exchanged, u)
            shuffled["ranking"].append(ranking(own, other))
        return {**rows, "against_fake": fake, "against_shuffled": shuffled}

    @torch.no_grad()
    def _logit(self, network: Discriminator, pairs: Pairs, u: float) -> Tensor:
        generator = generator_of(self.seed, STREAM + round(u * 2**20))
        found: list[Tensor] = []
        for first in range(0, len(pairs), CHUNK):
            some = take(pairs, range(first, min(first + CHUNK, len(pairs))))
            level = self.path.levels(torch.full((len(some),), u, dtype=torch.float64))
            eps = some.z_0.map(lambda x: torch.randn(x.shape, generator=generator))
            z_t = AV(
                level.audio.add_noise(some.z_0.audio, eps.audio),
                level.video.add_noise(some.z_0.video, eps.video),
            )
            found.append(network(z_t, level, some.cond.map(lambda one: one.pooled)).cpu())
        return torch.cat(found)


def exchange(captions: Sequence[str]) -> Exchange:
    """Exchange sounds within captions, lest a caption tells what it belongs to.

    A clip whose caption is its own takes no part. Where no two clips have the same caption, all
    take part and no captions are shown.
    """
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for row, caption in enumerate(captions):
        groups[caption].append(row)
    couples = [
        (row, group[(place + 1) % len(group)])
        for group in groups.values()
        if len(group) > 1
        for place, row in enumerate(group)
    ]
    captioned = bool(couples)
    if not captioned:
        couples = [(row, (row + 1) % len(captions)) for row in range(len(captions))]
    rows, partners = torch.tensor(couples).unbind(1)
    return Exchange(rows, partners, captioned)


def ranking(real: Tensor, other: Tensor) -> float:
    """P(real > other) + P(real = other) / 2 over all couples, for logits (n,) and (m,)."""
    greater = real[:, None] > other[None, :]
    equal = real[:, None] == other[None, :]
    return float((greater.double() + equal.double() / 2).mean())


def _repeated(cond: Conditioning, count: int) -> Conditioning:
    return Conditioning(
        cond.pooled.expand(count, -1),
        tuple(one.expand(count, *one.shape[1:]) for one in cond.native),
    )
