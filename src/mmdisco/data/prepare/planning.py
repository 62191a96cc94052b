"""A plan from a source: every file is looked at, none is decoded unless shots are asked for.

Which films are for training and which for validation: by a hash of their group, so it is stable.

A film that is alone is cut into stretches, and each stretch is a group.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Final

from mmdisco.data.prepare.plan import ClipGroup, PreparePlan
from mmdisco.data.prepare.sources import TRAIN, VALIDATION, SkippedFile, Source, SourceVideo
from mmdisco.errors import UserError
from mmdisco.media.conditioning_clip import ClipSpec
from mmdisco.media.probe import SkipReason, VideoInfo, probe
from mmdisco.media.scene_cuts import scene_cuts

SHARE: Final = 0.1  # of the groups, unless another one is asked for
STRETCH: Final = Fraction(60)  # seconds, unless another length is asked for


def split(
    pieces: Sequence[ClipGroup], share: float, seconds: Fraction, stretch: Fraction = STRETCH
) -> tuple[list[ClipGroup], int]:
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


def is_alone(pieces: Sequence[ClipGroup]) -> bool:
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


def _stretches(piece: ClipGroup, stretch: Fraction) -> list[ClipGroup]:
    found: dict[int, list[Fraction]] = {}
    for start in piece.starts:
        found.setdefault(int(start // stretch), []).append(start)
    return [
        replace(piece, group=f"{piece.group}#{index}", starts=tuple(starts))
        for index, starts in found.items()
    ]


def _joined(pieces: list[ClipGroup], seconds: Fraction) -> tuple[list[ClipGroup], int]:
    """Neighbours of one part become one piece; between two parts a clip's length is left out."""
    joined: list[ClipGroup] = []
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


_DOUBT: Final = Fraction(1, 12)  # seconds by which a cut may lie earlier than it is seen


@dataclass(frozen=True)
class SplitConfig:
    """How clips are laid out.

    Attributes:
        share: Of the groups that validation gets, in [0, 1); None is the usual one.
        most: Clips of one file or captioned stretch at most, spread over it; None takes all.
        shots: Whether no clip may hold a cut.
        hop: Seconds from the beginning of one clip to the next, above 0; None is a clip's length.
        stretch: Seconds of a film that is alone that go to one part, above 0; None is the usual
            length.
        audio_track: Number of the sound track, from 1; None is the one that a player plays.
    """

    share: float | None = None
    most: int | None = None
    shots: bool = False
    hop: Fraction | None = None
    stretch: Fraction | None = None
    audio_track: int | None = None


def make_plan(source: Source, form: ClipSpec, rule: SplitConfig) -> Iterator[str | PreparePlan]:
    """Look at all files of a source.

    Yields:
        The name of each, once it has been looked at; the plan at the end.

    Raises:
        UserError: The source is not there or is not what it should be, or it leaves a part of the
            rule without effect.
    """
    looked: dict[Path, VideoInfo | SkipReason] = {}
    pieces: list[ClipGroup] = []
    refused: list[SkippedFile] = []
    for item in source.items():
        found = item if isinstance(item, SkippedFile) else _piece(item, form, rule, looked)
        if isinstance(found, SkippedFile):
            refused.append(found)
        else:
            pieces.append(found)
        yield item.name
    share = SHARE if rule.share is None else rule.share
    _expect_effect(rule, pieces, share)
    stretch = rule.stretch or STRETCH
    whole, left_out = split(pieces, share, form.seconds, stretch) if pieces else ([], 0)
    yield PreparePlan(tuple(whole), tuple(refused), left_out)


def _expect_effect(rule: SplitConfig, pieces: Sequence[ClipGroup], share: float) -> None:
    if not pieces:
        return
    if rule.share is not None and all(one.part for one in pieces):
        raise UserError(
            "a share for validation has no effect, for the source says of every film what it is "
            "for: leave --validation out"
        )
    if rule.stretch is not None and not (share > 0 and is_alone(pieces)):
        raise UserError(
            "a length of stretches has no effect, for it is of a film that is alone and split: "
            "leave --split-block out"
        )


def _piece(
    item: SourceVideo, form: ClipSpec, rule: SplitConfig, looked: dict[Path, VideoInfo | SkipReason]
) -> ClipGroup | SkippedFile:
    if item.path not in looked:
        looked[item.path] = probe(item.path, rule.audio_track)
    film = looked[item.path]
    if isinstance(film, SkipReason):
        return SkippedFile(item.name, film)
    # a clip may lack half a frame at its end: files are cut where frames are, not where clips are
    end = film.seconds + 1 / (2 * form.fps)
    end = end if item.end is None else min(item.end, end)
    try:
        starts = _starts(item, end, form.seconds, rule)
    except UserError as error:
        return SkippedFile(item.name, SkipReason("undecodable", str(error)))
    if not starts:
        lasts = f"{max(0.0, float(min(end, film.seconds) - item.start)):.2f} s"
        return SkippedFile(
            item.name, SkipReason("too short", f"{lasts} of {float(form.seconds):g} s")
        )
    if rule.most is not None and len(starts) > rule.most:
        starts = [starts[i * len(starts) // rule.most] for i in range(rule.most)]
    return ClipGroup(
        item.path, item.name, item.caption, item.group, item.part, film.bytes, tuple(starts)
    )


def _starts(
    item: SourceVideo, end: Fraction, seconds: Fraction, rule: SplitConfig
) -> Sequence[Fraction]:
    hop = rule.hop or seconds
    bounds = [(item.start, end)]
    if rule.shots:
        seen = [time for time in scene_cuts(item.path) if item.start < time < end]
        edges = list(pairwise([item.start, *seen, end]))
        bounds = [(a, b - _DOUBT) for a, b in edges[:-1]] + edges[-1:]
    return [
        first + k * hop
        for first, last in bounds
        for k in range(max(0, int((last - first - seconds) // hop) + 1))
    ]
