"""Held-out pairs at one noise level, always with the same noise; a network's logits of them."""

from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor

from mmdisco.discriminator.base import Discriminator
from mmdisco.path import NoisePath
from mmdisco.sampling.noise import generator_of
from mmdisco.training.losses import NoisedPairs
from mmdisco.training.pairs import Pairs
from mmdisco.training.store import take

CHUNK: Final = 32  # pairs that a network is shown at once
STREAM: Final = 2**31  # of random numbers that no step of training draws from


def noised(pairs: Pairs, path: NoisePath, u: float, seed: int) -> Iterator[NoisedPairs]:
    """The pairs at one place of a path, some at a time.

    Args:
        pairs: Any number of them.
        path: Of pairs of noise levels.
        u: The place, from 0 to 1.
        seed: Of the noise, which also depends on ``u``.
    """
    generator = generator_of(seed, STREAM + round(u * 2**20))
    for first in range(0, len(pairs), CHUNK):
        some = take(pairs, range(first, min(first + CHUNK, len(pairs))))
        level = path.levels(torch.full((len(some),), u, dtype=torch.float64))
        eps = some.z_0.map(lambda x: torch.randn(x.shape, generator=generator))
        yield NoisedPairs(some, eps, level)


@torch.no_grad()
def logits(network: Discriminator, pairs: Pairs, path: NoisePath, u: float, seed: int) -> Tensor:
    """The logit of every pair at one place of a path, (n,), on the CPU."""
    return torch.cat(
        [
            network(one.z_t, one.level, one.pairs.cond.map(lambda cond: cond.pooled)).cpu()
            for one in noised(pairs, path, u, seed)
        ]
    )
