"""Which films are for training and which for validation: by a hash of their group, so it is stable.

A film that is alone is cut into stretches, and each stretch is a group.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Final

from mmdisco.prepare.plan import Piece
from mmdisco.prepare.sources import TRAIN, VALIDATION

SHARE: Final = 0.1  # of the groups, unless another one is asked for
STRETCH: Final = Fraction(60)  # seconds, unless another length is asked for


def split(
    pieces: Sequence[Piece], share: float, seconds: Fraction, stretch: Fraction = STRETCH
) -> tuple[list[Piece], int]:
    """Pieces with their part, and how many clips were left out between two parts of one film.

    A part that is given stays. Where chance gives validation no group, or training none, the group
    nearest to it goes there.

    Args:
        pieces: Of all films.
        share: Of the groups, roughly, that validation gets; 0 gives it none.
        seconds: Length of a clip; as much lies between two parts of one film.
        stretch: Seconds of a film that is alone that stay together.
    """
    alone = is_alone(pieces)
    if alone and share > 0:
        pieces = [part for piece in pieces for part in _stretches(piece, stretch)]
    validation = _chosen((one.group for one in pieces if not one.part), share)
    if any(one.part for one in pieces):
        validation = {one.group for one in pieces if _place(one.group) < share}
    split = [
        piece
        if piece.part
        else replace(piece, part=VALIDATION if piece.group in validation else TRAIN)
        for piece in pieces
    ]
    return _joined(split, seconds) if alone else (split, 0)


def is_alone(pieces: Sequence[Piece]) -> bool:
    """Whether all are of one group whose part is open, so that it is what is split."""
    return len({piece.group for piece in pieces}) == 1 and not any(one.part for one in pieces)


def _place(group: str) -> float:
    """Where in [0, 1) a group lies."""
    digest = hashlib.sha256(group.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:7]) / 2**56


def _chosen(groups: Iterable[str], share: float) -> set[str]:
    ordered = sorted(set(groups), key=_place)
    count = sum(_place(group) < share for group in ordered)
    if share > 0 and len(ordered) > 1:
        count = min(max(count, 1), len(ordered) - 1)
    elif len(ordered) == 1:
        count = 0
    return set(ordered[:count])


def _stretches(piece: Piece, stretch: Fraction) -> list[Piece]:
    found: dict[int, list[Fraction]] = {}
    for start in piece.starts:
        found.setdefault(int(start // stretch), []).append(start)
    return [
        replace(piece, group=f"{piece.group}#{index}", starts=tuple(starts))
        for index, starts in found.items()
    ]


def _joined(pieces: list[Piece], seconds: Fraction) -> tuple[list[Piece], int]:
    """Neighbours of one part become one piece; between two parts a clip's length is left out."""
    joined: list[Piece] = []
    left_out = 0
    for piece in pieces:
        before = joined[-1] if joined else None
        if before is None or (before.path, before.caption) != (piece.path, piece.caption):
            joined.append(piece)
        elif before.part == piece.part:
            joined[-1] = replace(before, starts=before.starts + piece.starts)
        else:
            free = before.starts[-1] + 2 * seconds
            starts = tuple(start for start in piece.starts if start >= free)
            left_out += len(piece.starts) - len(starts)
            if starts:
                joined.append(replace(piece, starts=starts))
    return joined, left_out
