"""Halves of pairs put together anew, and sources mixed. Knows groups by any key.

Pairs on disk: shards of latents and encoded captions. Knows no model.

A store is a folder of ``shard-00000.safetensors`` files and a ``store.json`` that lists them with
their lengths and checksums. The list is written last, so a shard that a crash left unlisted is made
again; one that has changed since is named.
"""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from mmdisco.core.av import AV
from mmdisco.core.denoiser import Conditioning
from mmdisco.core.pairs import Pairs, PairSource


@dataclass(frozen=True)
class RecombinedWithinCaption(PairSource):
    """Sounds and videos of one group put together anew, told by captions of that group.

    What two separate bases make of one caption belongs together in every combination, so a handful
    of samples a caption gives that number squared of fakes; of real clips it gives pairs that agree
    in nothing but the caption. Captions must be as likely here as among real pairs, or a
    discriminator tells the two by what was asked for and looks at nothing else.

    Attributes:
        pairs: All of them.
        cond: The captions that may be drawn, (n,).
        group: (n,) which group each of them asks for.
        starts: (groups + 1,) where each group begins in ``members``.
        members: Rows of ``pairs``, group by group.
    """

    pairs: Pairs
    cond: AV[Conditioning]
    group: Tensor
    starts: Tensor
    members: Tensor

    @staticmethod
    def of(pairs: Pairs, keys: Sequence[Hashable]) -> "RecombinedWithinCaption":
        """Group rows by their keys, one a row, and tell them by their own captions."""
        return RecombinedWithinCaption.told(pairs, rows_by_key(keys), pairs.cond, keys)

    @staticmethod
    def told(
        pairs: Pairs,
        rows: Mapping[Hashable, Sequence[int]],
        cond: AV[Conditioning],
        keys: Sequence[Hashable],
    ) -> "RecombinedWithinCaption":
        """Tell groups of rows by captions from elsewhere.

        Args:
            pairs: Latents.
            rows: Those of each key, at least one; a row may be in several.
            cond: The captions, (n,).
            keys: Which group each caption asks for, (n,), all of them in ``rows``.
        """
        number = {key: index for index, key in enumerate(rows)}
        sizes = torch.tensor([0, *map(len, rows.values())])
        members = torch.tensor([row for group in rows.values() for row in group])
        group = torch.tensor([number[key] for key in keys])
        return RecombinedWithinCaption(pairs, cond, group, sizes.cumsum(0), members)

    def draw(self, count: int, generator: Generator) -> Pairs:
        """A caption, and a sound and a video of its group."""
        asked = torch.randint(len(self.group), (count,), generator=generator)
        start, end = self.starts[self.group[asked]], self.starts[self.group[asked] + 1]
        share = torch.rand(2, count, generator=generator, dtype=torch.float64)
        audio, video = self.members[start + (share * (end - start)).long()]
        z_0 = AV(self.pairs.z_0.audio[audio], self.pairs.z_0.video[video])
        return Pairs(z_0, self.cond.map(lambda one: one.take(asked)))


def rows_by_key(keys: Sequence[Hashable]) -> dict[Hashable, list[int]]:
    """The rows of each key, in order."""
    rows: defaultdict[Hashable, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        rows[key].append(row)
    return dict(rows)


@dataclass(frozen=True)
class MixedPairs(PairSource):
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
        return select_pairs(concatenate(parts), torch.randperm(count, generator=generator))


def recombine(pairs: Pairs, audio: Tensor, video: Tensor) -> Pairs:
    """The sounds of some rows beside the videos of others, each with its own caption."""
    heard, seen = select_pairs(pairs, audio), select_pairs(pairs, video)
    return Pairs(AV(heard.z_0.audio, seen.z_0.video), AV(heard.cond.audio, seen.cond.video))


def concatenate(parts: Sequence[Pairs]) -> Pairs:
    """Batches one after the other."""

    def cond(conds: list[Conditioning]) -> Conditioning:
        embeds = zip(*(one.embeds for one in conds), strict=True)
        return Conditioning(
            torch.cat([one.pooled for one in conds]), tuple(torch.cat(one) for one in embeds)
        )

    return Pairs(
        AV(torch.cat([p.z_0.audio for p in parts]), torch.cat([p.z_0.video for p in parts])),
        AV(cond([p.cond.audio for p in parts]), cond([p.cond.video for p in parts])),
    )


@dataclass(frozen=True)
class Recombined(PairSource):
    """Halves of a source's pairs put together anew.

    Two independent bases without captions make every combination of their samples equally likely,
    so a store of n pairs holds n² fakes.
    """

    pairs: PairSource

    def draw(self, count: int, generator: Generator) -> Pairs:
        """Two draws, the audio of one beside the video of the other."""
        audio, video = (self.pairs.draw(count, generator) for _ in range(2))
        return Pairs(AV(audio.z_0.audio, video.z_0.video), AV(audio.cond.audio, video.cond.video))


def evenly_spaced(count: int, most: int) -> list[int]:
    """At most ``most`` of ``count`` positions, evenly spread: neighbours in a store are alike."""
    return [i * count // most for i in range(most)] if most < count else list(range(count))


def select_pairs(pairs: Pairs, index: Tensor | Sequence[int]) -> Pairs:
    """The pairs of the given positions."""
    chosen = torch.as_tensor(index)
    return Pairs(pairs.z_0.map(lambda x: x[chosen]), pairs.cond.map(lambda one: one.take(chosen)))
