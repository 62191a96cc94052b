"""A plan from a source: every file is looked at, none is decoded unless shots are asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Final

from mmdisco.errors import UserError
from mmdisco.media.cuts import cuts
from mmdisco.media.given import Form
from mmdisco.media.probing import Fault, Film, probe
from mmdisco.prepare.plan import Piece, Plan
from mmdisco.prepare.sources import Item, Refused, Source
from mmdisco.prepare.splitting import STRETCH, split

_DOUBT: Final = Fraction(1, 12)  # seconds by which a cut may lie earlier than it is seen


@dataclass(frozen=True)
class Rule:
    """How clips are laid out.

    Attributes:
        share: Of the groups that validation gets, in [0, 1).
        most: Clips of one file or captioned stretch at most, spread over it; None takes all.
        shots: Whether no clip may hold a cut.
        hop: Seconds from the beginning of one clip to the next, above 0; None is a clip's length.
        stretch: Seconds of a film that is alone that go to one part, above 0.
        audio_track: Number of the sound track, from 1; None is the one that a player plays.
    """

    share: float = 0.1
    most: int | None = None
    shots: bool = False
    hop: Fraction | None = None
    stretch: Fraction = STRETCH
    audio_track: int | None = None


def make_plan(source: Source, form: Form, rule: Rule) -> Iterator[str | Plan]:
    """Look at all files of a source.

    Yields:
        The name of each, once it has been looked at; the plan at the end.

    Raises:
        UserError: The source is not there or is not what it should be.
    """
    looked: dict[Path, Film | Fault] = {}
    pieces: list[Piece] = []
    refused: list[Refused] = []
    for item in source.items():
        found = item if isinstance(item, Refused) else _piece(item, form, rule, looked)
        if isinstance(found, Refused):
            refused.append(found)
        else:
            pieces.append(found)
        yield item.name
    whole, left_out = split(pieces, rule.share, form.seconds, rule.stretch) if pieces else ([], 0)
    yield Plan(tuple(whole), tuple(refused), left_out)


def _piece(item: Item, form: Form, rule: Rule, looked: dict[Path, Film | Fault]) -> Piece | Refused:
    if item.path not in looked:
        looked[item.path] = probe(item.path, rule.audio_track)
    film = looked[item.path]
    if isinstance(film, Fault):
        return Refused(item.name, film)
    # a clip may lack half a frame at its end: files are cut where frames are, not where clips are
    end = film.seconds + 1 / (2 * form.fps)
    end = end if item.end is None else min(item.end, end)
    try:
        starts = _starts(item, end, form.seconds, rule)
    except UserError as error:
        return Refused(item.name, Fault("undecodable", str(error)))
    if not starts:
        lasts = f"{max(0.0, float(min(end, film.seconds) - item.start)):.2f} s"
        return Refused(item.name, Fault("too short", f"{lasts} of {float(form.seconds):g} s"))
    if rule.most is not None and len(starts) > rule.most:
        starts = [starts[i * len(starts) // rule.most] for i in range(rule.most)]
    return Piece(
        item.path, item.name, item.caption, item.group, item.part, film.bytes, tuple(starts)
    )


def _starts(item: Item, end: Fraction, seconds: Fraction, rule: Rule) -> Sequence[Fraction]:
    hop = rule.hop or seconds
    bounds = [(item.start, end)]
    if rule.shots:
        seen = [time for time in cuts(item.path) if item.start < time < end]
        edges = list(pairwise([item.start, *seen, end]))
        bounds = [(a, b - _DOUBT) for a, b in edges[:-1]] + edges[-1:]
    return [
        first + k * hop
        for first, last in bounds
        for k in range(max(0, int((last - first - seconds) // hop) + 1))
    ]
