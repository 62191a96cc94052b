"""Whether what is heard in clips is what is seen in them, against sounds recombined in a caption.

*Events*: F1 of the times seen and heard, whatever happens. *Class*: the share of events seen or
heard with which the same kind is heard or seen. Half of the captions do not say what happens; the
others do not say when. *Kinds*: the share of clips of captions that do not say it in which the
same kinds are seen and heard, whenever they happen.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from make_clips import DOES
from records import KINDS, WEAPONS, Event, EventKind

from mmdisco.errors import UserError
from mmdisco.evaluation.metrics.result import gap_closed
from mmdisco.evaluation.metrics.sounding_objects.agreement import matches

TOLERANCE: Final = 0.1  # seconds
SHUFFLES: Final = 20
DRAWS: Final = 1000  # of the bootstrap over clips
QUIET: Final = ("waits", "nothing happens")
FIGURES: Final = ("events", "class", "kinds")

Events = Sequence[Event]
Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Agreement:
    """One figure of a set of clips, and the same with sounds recombined within captions.

    Attributes:
        own: (clips, 2) what agrees in each clip, and out of how much.
        recombined: The same, mean over several shuffles of the sounds.
        seed: Seed of the bootstrap.
    """

    own: Array
    recombined: Array
    seed: int = 0

    @property
    def value(self) -> float:
        """The share of true pairs, all clips together."""
        return float(_share(self.own.sum(0)))

    @property
    def control(self) -> float:
        """The share of recombined pairs."""
        return float(_share(self.recombined.sum(0)))

    @cached_property
    def draws(self) -> Array:
        """(2, DRAWS) shares of true and of recombined pairs, of clips drawn with replacement."""
        rng = np.random.default_rng(self.seed)
        count = len(self.own)
        weight = rng.multinomial(count, np.full(count, 1 / count), DRAWS).astype(np.float64)
        return np.stack([_share(weight @ one) for one in (self.own, self.recombined)])

    def gap_closed(self, real: "Agreement") -> tuple[float, float]:
        """Return the share of the gap to real clips that is closed, and its standard error."""
        value = gap_closed(self.value, self.control, real.value)
        others = real.draws[0][np.random.default_rng(self.seed + 1).permutation(DRAWS)]
        drawn = [gap_closed(*one) for one in zip(*self.draws, others, strict=True)]
        return value, _spread(np.array(drawn))

    def record(self, real: "Agreement | None" = None) -> dict[str, Any]:
        """Return the figures for JSON; with real clips, also the share of the gap that is closed.

        Args:
            real: The same figure of real clips.
        """
        value, control = map(_spread, self.draws)
        found = {"value": self.value, "error": value, "control": self.control}
        found |= {"control error": control, "clips": len(self.own)}
        if real is None:
            return found
        return found | dict(zip(("gap closed", "gap error"), self.gap_closed(real), strict=True))


def agreement(
    seen: Sequence[Events],
    heard: Sequence[Events],
    captions: Sequence[str],
    kinds: Collection[EventKind],
    seed: int = 0,
) -> dict[str, Agreement]:
    """Measure all ``FIGURES`` of clips, whose caption other clips must have too to be counted.

    Args:
        seen: Events read from the pictures of each clip.
        heard: Events read from the sound of each clip.
        captions: Captions of the clips.
        kinds: Kinds that are read from both.
        seed: Seed of shuffles and bootstrap.

    Raises:
        UserError: No two clips have the same caption.
    """
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for row, caption in enumerate(captions):
        groups[caption].append(row)
    several = [group for group in groups.values() if len(group) > 1]
    if not several:
        raise UserError("sounds are recombined within captions: give clips of the same caption")
    rows = sorted(row for group in several for row in group)
    rng = np.random.default_rng(seed)

    def counted(partner: dict[int, int]) -> Array:
        return np.array([_counts(seen[row], heard[partner[row]], kinds) for row in rows], float)

    own = counted({row: row for row in rows})
    others = np.mean([counted(_recombined(several, rng)) for _ in range(SHUFFLES)], 0)
    untold = np.array([not tells(captions[row]) for row in rows])
    found = {name: (own[:, k], others[:, k]) for k, name in enumerate(FIGURES)}
    found["kinds"] = (found["kinds"][0][untold], found["kinds"][1][untold])
    return {name: Agreement(*both, seed) for name, both in found.items() if len(both[0])}


def named(caption: str) -> set[EventKind]:
    """Return the kinds of events that a caption says to happen."""
    weapon = next((kind for words, kind in WEAPONS.items() if caption.startswith(words)), None)
    said = {kind for kind, does in DOES.items() if f"{does}," in caption}
    fires = weapon if "shot" in said else None
    return {kind for kind in KINDS if kind == fires or kind in said}


def tells(caption: str) -> bool:
    """Whether a caption says what happens."""
    return bool(named(caption)) or any(f"{quiet}," in caption for quiet in QUIET)


def as_said(
    classes: Sequence[EventKind | None], captions: Sequence[str], kinds: Collection[EventKind]
) -> dict[str, float]:
    """Return the share of clips whose class is one that the caption says.

    Captions that do not say what happens are left out, and those that say nothing but kinds that
    are not read.

    Args:
        classes: Kind that is seen or heard most clearly; None where nothing happens.
        captions: Captions of the clips.
        kinds: Kinds that are read.
    """
    right: list[bool] = []
    for found, caption in zip(classes, captions, strict=True):
        said = named(caption)
        if tells(caption) and (not said or said & set(kinds)):
            right.append(found in said if found else not said)
    count = len(right)
    value = sum(right) / count if count else float("nan")
    error = (value * (1 - value) / count) ** 0.5 if count else float("nan")
    return {"value": value, "error": error, "clips": count}


def _counts(seen: Events, heard: Events, kinds: Collection[EventKind]) -> list[tuple[float, float]]:
    one = [event for event in seen if event.kind in kinds]
    two = [event for event in heard if event.kind in kinds]
    events = len(one) + len(two)
    first, second = (np.array(sorted(event.second for event in side)) for side in (one, two))
    alike = _with_partner(one, two) + _with_partner(two, one)
    same = {event.kind for event in one} == {event.kind for event in two}
    return [(2 * matches(first, second, TOLERANCE), events), (alike, events), (float(same), 1)]


def _with_partner(these: Events, those: Events) -> int:
    """Count these events with which those of the same kind coincide."""
    return sum(
        any(a.kind == b.kind and abs(a.second - b.second) <= TOLERANCE for b in those)
        for a in these
    )


def _recombined(groups: Sequence[list[int]], rng: np.random.Generator) -> dict[int, int]:
    """Return for each clip the one of its caption whose sound it gets, never its own."""
    partner: dict[int, int] = {}
    for group in groups:
        order = rng.permutation(group)
        partner |= dict(zip(order.tolist(), np.roll(order, 1).tolist(), strict=True))
    return partner


def _share(counts: Array) -> Array:
    """Divide what agrees by out of how much; NaN out of nothing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(counts[..., 0] / counts[..., 1])


def _spread(draws: Array) -> float:
    """Return the standard deviation of the draws that have a value."""
    finite = draws[np.isfinite(draws)]
    return float(finite.std()) if len(finite) else float("nan")
