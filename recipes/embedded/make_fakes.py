"""Makes the store of fake pairs: what the two bases make of the training captions, side by side."""

import argparse
from pathlib import Path

import torch
from progress import progress

from mmdisco.data.pair_store import PairStore
from mmdisco.experiments.miniature.training import fill_fake
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.media.sounding_objects.dataset import caption_of

SHARD = 256
SHARDS = 16


def make(seed: int, shards: int, out: Path) -> PairStore:
    """Fill ``out/fake`` up to ``shards`` shards, with the settings that generation has."""
    store = PairStore(out / "fake", "fake")
    if store.shards == shards:
        return store
    texts = [[caption_of(seed, index).text for index in _rows(shard)] for shard in range(shards)]
    made = fill_fake(store, MiniatureSystem(out / "pair"), texts, seed)
    todo = range(store.shards, shards)
    for _ in zip(progress(todo, "fakes"), made, strict=True):
        pass
    return store


def _rows(shard: int) -> range:
    return range(shard * SHARD, (shard + 1) * SHARD)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the store of fake pairs.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/embedded"))
    parser.add_argument("--shards", type=int, default=SHARDS, help=f"of {SHARD} pairs")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    make(options.seed, options.shards, options.out)
