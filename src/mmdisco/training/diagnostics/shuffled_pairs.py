"""Real pairs whose sounds are shuffled, so that only the pairing is wrong."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mmdisco.core.av import AV
from mmdisco.core.denoiser import Conditioning
from mmdisco.core.pairs import Pairs
from mmdisco.data.pairing import recombine, select_pairs


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
