"""Real pairs whose sounds are exchanged, so that only the pairing is wrong."""

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
        own, other = select_pairs(real, self.rows), recombine(real, self.partners, self.rows)
        if self.captioned:
            # the partner's may say the same in other words
            return own, replace(other, cond=own.cond)
        empty = null.map(lambda one: _repeated(one, len(self.rows)))
        return replace(own, cond=empty), replace(other, cond=empty)


def shuffle_pairs(captions: Sequence[Hashable]) -> ShuffledPairs:
    """Exchange sounds within captions, lest a caption tells what it belongs to.

    Rows are often in the order of a film, where neighbours overlap or are alike; so a sound comes
    from half of its group away. A clip whose caption is its own takes no part. Where no two clips
    have the same caption, all take part and no captions are shown.

    Args:
        captions: Of every row; anything that is equal where captions say the same.
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
