"""Halves of pairs put together anew, and sources mixed. Knows groups by any key."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from mmdisco.av import AV
from mmdisco.models import Conditioning
from mmdisco.training.pairs import Pairs, PairSource
from mmdisco.training.store import take


@dataclass(frozen=True)
class RepairedWithin(PairSource):
    """Sounds and videos of one group put together anew.

    What two separate bases make of one caption belongs together in every combination, so a handful
    of samples a caption gives that number squared of fakes; of real clips it gives pairs that agree
    in nothing but the caption.

    Attributes:
        pairs: All of them.
        group: (n,) a number for each group.
        starts: (groups + 1,) where each begins in ``order``.
        order: (n,) rows sorted by group.
    """

    pairs: Pairs
    group: Tensor
    starts: Tensor
    order: Tensor

    @staticmethod
    def of(pairs: Pairs, keys: Sequence[Hashable]) -> "RepairedWithin":
        """Group rows by their keys, one a row."""
        rows: defaultdict[Hashable, list[int]] = defaultdict(list)
        for row, key in enumerate(keys):
            rows[key].append(row)
        group = torch.empty(len(keys), dtype=torch.int64)
        for number, members in enumerate(rows.values()):
            group[members] = number
        sizes = torch.tensor([0, *map(len, rows.values())])
        return RepairedWithin(pairs, group, sizes.cumsum(0), torch.argsort(group, stable=True))

    def draw(self, count: int, generator: Generator) -> Pairs:
        """A row for the video, and one of its group for the audio."""
        video = torch.randint(len(self.group), (count,), generator=generator)
        start, end = self.starts[self.group[video]], self.starts[self.group[video] + 1]
        share = torch.rand(count, generator=generator, dtype=torch.float64)
        audio = self.order[start + (share * (end - start)).long()]
        return side_by_side(self.pairs, audio, video)


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
        return take(joined(parts), torch.randperm(count, generator=generator))


def side_by_side(pairs: Pairs, audio: Tensor, video: Tensor) -> Pairs:
    """The sounds of some rows beside the videos of others, each with its own caption."""
    heard, seen = take(pairs, audio), take(pairs, video)
    return Pairs(AV(heard.z_0.audio, seen.z_0.video), AV(heard.cond.audio, seen.cond.video))


def joined(parts: Sequence[Pairs]) -> Pairs:
    """Batches one after the other."""

    def cond(conds: list[Conditioning]) -> Conditioning:
        native = zip(*(one.native for one in conds), strict=True)
        return Conditioning(
            torch.cat([one.pooled for one in conds]), tuple(torch.cat(one) for one in native)
        )

    return Pairs(
        AV(torch.cat([p.z_0.audio for p in parts]), torch.cat([p.z_0.video for p in parts])),
        AV(cond([p.cond.audio for p in parts]), cond([p.cond.video for p in parts])),
    )
