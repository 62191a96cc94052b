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
        store.append(fake_shard(base, sampler, batches[shard], shapes, seed=seed, shard=shard))
        yield shard + 1


def fake_shard(
    base: JointDenoiser,
    sampler: Sampler,
    cond: AV[Conditioning],
    shapes: AV[torch.Size],
    *,
    seed: int,
    shard: int,
) -> Pairs:
    """The samples of one batch of captions, from noise of (seed, shard) alone.

    Args:
        base: As in ``generate_fake_pairs``.
        sampler: The full reverse process.
        cond: Encoded captions.
        shapes: Of one sample's latents, without the batch.
        seed: Of all shards.
        shard: Which of them this is, from 0.
    """
    count = len(cond.audio.pooled)
    noise = NoiseSource.shared(seed * 1_000_003 + shard)
    whole = shapes.map(lambda shape: torch.Size([count, *shape]))
    return Pairs(sampler.sample(base, sampler.initial(noise, whole), cond, noise), cond)
