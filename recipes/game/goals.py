"""What the pair was to reach, as set before it was made, beside what it reaches."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cells import RECONSTRUCTED
from ranking import ANY

from mmdisco.evaluation.metrics.result import UNGUIDED
from mmdisco.io.reports import markdown_table

TWICE, TENTH_MORE = 2.0, 1.1  # times another distance
GAPS: Final = {"joint": 0.6, "video to audio": 0.75, "audio to video": 0.6}
ADDITIVE: Final = "joint, additive control"

Rows = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Goal:
    """A number with its bound.

    Attributes:
        what: What the number is.
        value: The number; None where it is not measured.
        bound: The bound.
        lower: Whether it is the least that the number may be; else the most.
    """

    what: str
    value: float | None
    bound: float
    lower: bool = True

    @property
    def cells(self) -> list[str]:
        """Cells of the table."""
        goal = f"{'≥' if self.lower else '≤'} {self.bound:g}"
        if self.value is None:
            return [self.what, goal, "–", "–"]
        reached = self.value >= self.bound if self.lower else self.value <= self.bound
        return [self.what, goal, f"{self.value:.3f}", "yes" if reached else "no"]


def goals_table(rows: Rows, ranking: Mapping[str, Any]) -> str:
    """Format all goals on held-out clips of other seeds.

    Args:
        rows: Figures of each row.
        ranking: Those of the discriminator.
    """
    head = ("", "goal", "reached", "")
    return markdown_table(head, [one.cells for one in goals(rows, ranking)])


def goals(rows: Rows, ranking: Mapping[str, Any]) -> Iterator[Goal]:
    """Yield the goals."""
    for side in ("video", "audio"):
        times = _times(rows, UNGUIDED, RECONSTRUCTED, side)
        yield Goal(f"unguided, Fréchet {side} over that of real clips", times, TWICE, lower=False)
    sound = rows.get(UNGUIDED, {}).get("recognised", {}).get("sound")
    yield Goal("unguided, sound recognised", sound, 0.85)
    for row, bound in GAPS.items():
        for figure in ("events", "class"):
            yield Goal(f"{row}, gap closed, {figure}", _closed(rows, row, figure), bound)
    for figure in ("events", "class"):
        what = f"{ADDITIVE}, gap closed, {figure}"
        yield Goal(what, _closed(rows, ADDITIVE, figure), 0.05, lower=False)
    for side in ("video", "audio"):
        times = _times(rows, "joint", UNGUIDED, side)
        yield Goal(f"joint, Fréchet {side} over that of unguided", times, TENTH_MORE, lower=False)
    clean = ranking.get(ANY, {}).get("ranking", [None])[0]
    yield Goal("ranking of clean pairs", clean, 0.9)


def _closed(rows: Rows, row: str, figure: str) -> float | None:
    return rows.get(row, {}).get(figure, {}).get("gap closed")


def _times(rows: Rows, row: str, other: str, side: str) -> float | None:
    one, two = (rows.get(name, {}).get("frechet", {}).get(side) for name in (row, other))
    return one / two if one is not None and two else None
