"""Fake pairs: what the bases make on their own, drawn by the full reverse process and stored."""

from collections.abc import Iterator

import torch

from mmdisco.av import AV
from mmdisco.models import Conditioning, JointDenoiser
from mmdisco.sampling.noise import NoiseSource
from mmdisco.sampling.sampler import Sampler
from mmdisco.training.pairs import Pairs
from mmdisco.training.store import PairStore


def generate_fake_pairs(
    base: JointDenoiser,
    sampler: Sampler,
    batches: list[AV[Conditioning]],
    shapes: AV[torch.Size],
    store: PairStore,
    *,
    seed: int,
) -> Iterator[int]:
    """Sample one shard per batch of captions, going on after those that the store holds.

    Args:
        base: The frozen bases with the guidance that sampling will use, without joint guidance.
        sampler: The full reverse process.
        batches: Encoded captions, a batch a shard.
        shapes: Of one sample's latents, without the batch.
        store: Where they go.
        seed: The shard's noise comes from (seed, shard) alone, so a rerun repeats it.

    Yields:
        The number of shards done, after each one.
    """
    for shard in range(store.shards, len(batches)):
        cond = batches[shard]
        count = len(cond.audio.pooled)
        noise = NoiseSource.shared(seed * 1_000_003 + shard)
        whole = shapes.map(lambda shape, n=count: torch.Size([n, *shape]))
        z_0 = sampler.sample(base, sampler.initial(noise, whole), cond, noise)
        store.append(Pairs(z_0, cond))
        yield shard + 1
