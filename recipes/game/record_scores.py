"""Scores of what is read of clips against the game's own record of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from agreement import TOLERANCE
from reading import SIDES, Candidate, Reading, Side
from records import KINDS, Event, EventKind, Record, can_be_heard, can_be_seen

from mmdisco.evaluation.metrics.sounding_objects.agreement import matches

GRID: Final = np.arange(0.1, 0.96, 0.05)
NEAR: Final = 0.005  # from the largest F1
LEAST: Final = 0.5  # F1 below which a kind is not read at all
CAN_BE: Final[Mapping[Side, Callable[[Event], bool]]] = {
    "seen": can_be_seen,
    "heard": can_be_heard,
}


@dataclass(frozen=True)
class Counts:
    """Events of one kind.

    Attributes:
        right: Events of the record that are read.
        read: Events that are read.
        true: Events of the record.
    """

    right: int = 0
    read: int = 0
    true: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.right + other.right, self.read + other.read, self.true + other.true)

    @property
    def f1(self) -> float:
        """F1; NaN where nothing happens and nothing is read."""
        return 2 * self.right / (self.read + self.true) if self.read + self.true else float("nan")

    def record(self) -> dict[str, float]:
        """Return the figures for JSON."""
        return {"f1": self.f1, "events": self.true, "read": self.read}


def counts(
    read: Sequence[Sequence[Event]],
    records: Sequence[Record],
    kind: EventKind,
    asked: Callable[[Event], bool],
) -> Counts:
    """Count events of a kind in all clips.

    Args:
        read: Events read of each clip.
        records: The game's record of each.
        kind: The kind.
        asked: Whether an event must be read; one that need not be may be.
    """
    total = Counts()
    for own, record in zip(read, records, strict=True):
        found = _seconds(own, kind, lambda _: True)
        every, must = (_seconds(record.events, kind, rule) for rule in (lambda _: True, asked))
        right = matches(found, must, TOLERANCE)
        pardoned = matches(found, every, TOLERANCE) - right
        total += Counts(right, len(found) - pardoned, len(must))
    return total


def best_thresholds(
    candidates: Mapping[Side, Sequence[Sequence[Candidate]]], records: Sequence[Record]
) -> dict[Side, dict[EventKind, float | None]]:
    """Choose for each side and kind a threshold; None where no F1 reaches ``LEAST``.

    It is the middle one of those whose F1 is about the largest: clips that are read later differ.
    """
    found: dict[Side, dict[EventKind, float | None]] = {}
    for side in SIDES:
        found[side] = {}
        for kind in KINDS:
            scores = {
                threshold: counts(
                    [[c.event for c in clip if c.score >= threshold] for clip in candidates[side]],
                    records,
                    kind,
                    CAN_BE[side],
                ).f1
                for threshold in GRID.round(2).tolist()
            }
            most = np.nan_to_num(list(scores.values())).max()
            near = [one for one, f1 in scores.items() if f1 >= most - NEAR]
            found[side][kind] = near[len(near) // 2] if most >= LEAST else None
    return found


def against_record(
    readings: Sequence[Reading], records: Sequence[Record], read: Mapping[Side, set[EventKind]]
) -> dict[str, Any]:
    """Return F1 by kind and of all kinds, for events that can be seen or heard and for all.

    Args:
        readings: What is read of each clip.
        records: The game's record of each.
        read: Kinds that are read from each side.
    """
    found: dict[str, Any] = {}
    for side in SIDES:
        events = [one.seen if side == "seen" else one.heard for one in readings]
        own: dict[str, Any] = {}
        for name, asked in (("can be", CAN_BE[side]), ("every event", lambda _: True)):
            table = {kind: counts(events, records, kind, asked) for kind in KINDS}
            kinds = [kind for kind in KINDS if kind in read[side] or name == "every event"]
            total = sum((table[kind] for kind in kinds), Counts())
            rows = {kind: table[kind].record() for kind in kinds if table[kind].true}
            own[name] = {"all": total.record(), **rows}
        found[side] = own
    return found


def recognised(readings: Sequence[Reading], records: Sequence[Record]) -> dict[str, float]:
    """Return the shares of clips whose sound, sight and scenario are recognised.

    A class is right if the record has an event of it, or no event that can be read where nothing
    is.
    """
    right: dict[str, list[bool]] = {"sound": [], "sight": [], "scenario": []}
    for reading, record in zip(readings, records, strict=True):
        classes: tuple[tuple[str, Side, EventKind | None], ...] = (
            ("sound", "heard", reading.sound),
            ("sight", "seen", reading.sight),
        )
        for name, side, one in classes:
            happens = {event.kind for event in record.events}
            must = {event.kind for event in record.events if CAN_BE[side](event)}
            right[name].append(one in happens if one else not must)
        right["scenario"].append(reading.scenario == record.scenario)
    return {name: float(np.mean(each)) for name, each in right.items()}


def _seconds(
    events: Sequence[Event], kind: EventKind, rule: Callable[[Event], bool]
) -> "np.ndarray[Any, np.dtype[np.float64]]":
    return np.array(sorted(one.second for one in events if one.kind == kind and rule(one)))
