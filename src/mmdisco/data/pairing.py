"""Recombination of sounds and videos into other pairs, shuffled pairs, and mixtures of sources.

Groups are defined by any hashable key; files and models are unknown here.
"""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from mmdisco.core.av import AV
from mmdisco.core.denoiser import Conditioning
from mmdisco.core.pairs import Pairs, PairSource


@dataclass(frozen=True)
class RecombinedWithinCaption(PairSource):
    """Sounds and videos recombined within groups, with captions of the group.

    Samples of two separate base models for one caption match in every combination, so n samples per
    caption give n² fakes; recombined real clips agree in nothing but the caption. Captions must be
    as frequent here as among real pairs, or a discriminator classifies by the caption and ignores
    the clips.

    Attributes:
        pairs: All pairs.
        cond: Captions to draw from, (n,).
        group: (n,) index of the group of each caption.
        starts: (groups + 1,) start of each group in ``members``.
        members: Rows of ``pairs``, group by group.
    """

    pairs: Pairs
    cond: AV[Conditioning]
    group: Tensor
    starts: Tensor
    members: Tensor

    @staticmethod
    def of(pairs: Pairs, keys: Sequence[Hashable]) -> "RecombinedWithinCaption":
        """Group rows by their keys, one per row, and draw from their own captions."""
        return RecombinedWithinCaption.with_captions(pairs, rows_by_key(keys), pairs.cond, keys)

    @staticmethod
    def with_captions(
        pairs: Pairs,
        rows: Mapping[Hashable, Sequence[int]],
        cond: AV[Conditioning],
        keys: Sequence[Hashable],
    ) -> "RecombinedWithinCaption":
        """Pair groups of rows with captions from elsewhere.

        Args:
            pairs: Latents.
            rows: Rows of each key, at least one; a row may be in several.
            cond: Captions, (n,).
            keys: Key of the group of each caption, (n,), all of them in ``rows``.
        """
        number = {key: index for index, key in enumerate(rows)}
        sizes = torch.tensor([0, *map(len, rows.values())])
        members = torch.tensor([row for group in rows.values() for row in group])
        group = torch.tensor([number[key] for key in keys])
        return RecombinedWithinCaption(pairs, cond, group, sizes.cumsum(0), members)

    def draw(self, count: int, generator: Generator) -> Pairs:
        """Draw captions, and for each a sound and a video of its group."""
        chosen = torch.randint(len(self.group), (count,), generator=generator)
        start, end = self.starts[self.group[chosen]], self.starts[self.group[chosen] + 1]
        share = torch.rand(2, count, generator=generator, dtype=torch.float64)
        audio, video = self.members[start + (share * (end - start)).long()]
        z_0 = AV(self.pairs.z_0.audio[audio], self.pairs.z_0.video[video])
        return Pairs(z_0, self.cond.map(lambda one: one.take(chosen)))


def rows_by_key(keys: Sequence[Hashable]) -> dict[Hashable, list[int]]:
    """Collect the rows of each key, in order."""
    rows: defaultdict[Hashable, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        rows[key].append(row)
    return dict(rows)


@dataclass(frozen=True)
class MixedPairs(PairSource):
    """Batches mixed from two sources in a fixed share."""

    first: PairSource
    second: PairSource
    share: float

    def draw(self, count: int, generator: Generator) -> Pairs:
        """Draw from both sources, and shuffle."""
        size = round(self.share * count)
        parts = [
            source.draw(number, generator)
            for source, number in ((self.first, size), (self.second, count - size))
            if number
        ]
        return select_pairs(concatenate(parts), torch.randperm(count, generator=generator))


def recombine(pairs: Pairs, audio: Tensor, video: Tensor) -> Pairs:
    """Combine the sounds of some rows with the videos of others, each with its own caption."""
    heard, seen = select_pairs(pairs, audio), select_pairs(pairs, video)
    return Pairs(AV(heard.z_0.audio, seen.z_0.video), AV(heard.cond.audio, seen.cond.video))


def concatenate(parts: Sequence[Pairs]) -> Pairs:
    """Concatenate batches."""

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
    """Sounds and videos of a source recombined at random.

    Two independent base models without captions make every combination of their samples equally
    likely, so a store of n pairs holds n² fakes.
    """

    pairs: PairSource

    def draw(self, count: int, generator: Generator) -> Pairs:
        """Draw twice, and combine the audio of one draw with the video of the other."""
        audio, video = (self.pairs.draw(count, generator) for _ in range(2))
        return Pairs(AV(audio.z_0.audio, video.z_0.video), AV(audio.cond.audio, video.cond.video))


def evenly_spaced(count: int, most: int) -> list[int]:
    """Choose up to ``most`` of ``count`` positions, evenly spaced, as neighbours are alike."""
    return [i * count // most for i in range(most)] if most < count else list(range(count))


def select_pairs(pairs: Pairs, index: Tensor | Sequence[int]) -> Pairs:
    """Select the pairs at the given positions."""
    chosen = torch.as_tensor(index)
    return Pairs(pairs.z_0.map(lambda x: x[chosen]), pairs.cond.map(lambda one: one.take(chosen)))


@dataclass(frozen=True)
class ShuffledPairs:
    """Permutation of sounds.

    Attributes:
        rows: Rows that take part.
        partners: Row whose sound each of them gets.
        captioned: Whether captions are shown; both pairs of a couple have the same one.
    """

    rows: Tensor
    partners: Tensor
    captioned: bool

    def pairs(self, real: Pairs, null: AV[Conditioning]) -> tuple[Pairs, Pairs]:
        """Return the rows as they are, and with the sounds of their partners."""
        own, other = select_pairs(real, self.rows), recombine(real, self.partners, self.rows)
        if self.captioned:
            # the partner's caption may word the same meaning differently
            return own, replace(other, cond=own.cond)
        empty = null.map(lambda one: _repeated(one, len(self.rows)))
        return replace(own, cond=empty), replace(other, cond=empty)


def shuffle_pairs(captions: Sequence[Hashable]) -> ShuffledPairs:
    """Shuffle sounds within captions, so that a caption does not reveal the pairing.

    Consecutive rows often come from one film and overlap or look alike; so a sound comes from half
    of its group away. A clip with a unique caption takes no part. Where no two clips share a
    caption, all take part and no captions are shown.

    Args:
        captions: Keys of every row's caption, equal where captions have the same meaning.
    """
    groups: defaultdict[Hashable, list[int]] = defaultdict(list)
    for row, caption in enumerate(captions):
        groups[caption].append(row)
    couples = [
        (row, group[_across(place, len(group))])
        for group in groups.values()
        if len(group) > 1
        for place, row in enumerate(group)
    ]
    captioned = bool(couples)
    if not captioned:
        couples = [(row, _across(row, len(captions))) for row in range(len(captions))]
    rows, partners = torch.tensor(couples).unbind(1)
    return ShuffledPairs(rows, partners, captioned)


def _across(place: int, count: int) -> int:
    return (place + max(1, count // 2)) % count


def _repeated(cond: Conditioning, count: int) -> Conditioning:
    return Conditioning(
        cond.pooled.expand(count, -1),
        tuple(one.expand(count, *one.shape[1:]) for one in cond.embeds),
    )
