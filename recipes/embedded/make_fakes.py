"""Makes the store of fake pairs: what the two bases make of the training captions, side by side."""

import argparse
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import torch
from fit import progress
from torch import Generator, Tensor

from mmdisco.av import AV
from mmdisco.embedded.weights import Folder
from mmdisco.models import Conditioning
from mmdisco.objects.dataset import caption_of
from mmdisco.objects.scene import Wish
from mmdisco.path import IndexPath
from mmdisco.pipeline import guided_base
from mmdisco.sampling import Sampler
from mmdisco.training.fakes import generate_fake_pairs
from mmdisco.training.pairs import Pairs, PairSource
from mmdisco.training.store import PairStore, take

SHARD = 256
SHARDS = 16


def make(seed: int, shards: int, out: Path) -> PairStore:
    """Fill ``out/fake`` up to ``shards`` shards, with the settings that generation has."""
    store = PairStore(out / "fake", "fake")
    if store.shards == shards:
        return store
    folder = Folder(out / "pair")
    model, sampling = folder.model(), folder.sampling()
    sampler = Sampler(
        IndexPath(model.schedules), sampling.settings.solvers, sampling.settings.steps
    )
    batches = [
        model.encode_prompts([caption_of(seed, index).text for index in _rows(shard)])
        for shard in range(shards)
    ]
    made = generate_fake_pairs(
        guided_base(model, sampling.guidance_scale),
        sampler,
        batches,
        model.latent_shapes(1.6),
        store,
        seed=seed,
    )
    todo = range(store.shards, shards)
    for _ in zip(progress(todo, "fakes"), made, strict=True):
        pass
    return store


def _rows(shard: int) -> range:
    return range(shard * SHARD, (shard + 1) * SHARD)


@dataclass(frozen=True)
class RepairedWithinCaption(PairSource):
    """Sounds and videos of captions that mean the same, put together anew.

    What two separate bases make of one caption belongs together in every combination, so a handful
    of samples a meaning gives that number squared of fakes; of real clips it gives pairs that agree
    in nothing but the caption.
    """

    pairs: Pairs
    group: Tensor  # (n,) a number for each meaning
    starts: Tensor  # (meanings + 1,) where each begins in ``order``
    order: Tensor  # (n,) rows sorted by meaning

    @staticmethod
    def of(pairs: Pairs, meanings: list[Wish]) -> "RepairedWithinCaption":
        """Group rows by what their captions say."""
        rows: defaultdict[Wish, list[int]] = defaultdict(list)
        for row, meaning in enumerate(meanings):
            rows[meaning].append(row)
        group = torch.empty(len(meanings), dtype=torch.int64)
        for number, members in enumerate(rows.values()):
            group[members] = number
        sizes = torch.tensor([0, *map(len, rows.values())])
        return RepairedWithinCaption(
            pairs, group, sizes.cumsum(0), torch.argsort(group, stable=True)
        )

    def draw(self, count: int, generator: Generator) -> Pairs:
        """A row for the video, and one of its meaning for the audio."""
        video = torch.randint(len(self.group), (count,), generator=generator)
        start, end = self.starts[self.group[video]], self.starts[self.group[video] + 1]
        share = torch.rand(count, generator=generator, dtype=torch.float64)
        audio = self.order[start + (share * (end - start)).long()]
        seen, heard = take(self.pairs, video), take(self.pairs, audio)
        return Pairs(AV(heard.z_0.audio, seen.z_0.video), AV(heard.cond.audio, seen.cond.video))


@dataclass(frozen=True)
class Mixed(PairSource):
    """A share of every batch from one source, the rest from another."""

    first: PairSource
    second: PairSource
    share: float

    def draw(self, count: int, generator: Generator) -> Pairs:
        """The first source's pairs before the second's, then shuffled."""
        size = round(self.share * count)
        parts = [
            source.draw(number, generator)
            for source, number in ((self.first, size), (self.second, count - size))
            if number
        ]
        order = torch.randperm(count, generator=generator)
        return take(_joined(parts), order)


def _joined(parts: list[Pairs]) -> Pairs:
    def cond(conds: list[Conditioning]) -> Conditioning:
        return Conditioning(torch.cat([one.pooled for one in conds]))

    return Pairs(
        AV(torch.cat([p.z_0.audio for p in parts]), torch.cat([p.z_0.video for p in parts])),
        AV(cond([p.cond.audio for p in parts]), cond([p.cond.video for p in parts])),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the store of fake pairs.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/embedded"))
    parser.add_argument("--shards", type=int, default=SHARDS, help=f"of {SHARD} pairs")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    make(options.seed, options.shards, options.out)
