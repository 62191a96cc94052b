"""Markdown tables of the evaluation: gaps closed, mean and standard deviation over seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from mmdisco.evaluation.metrics.sounding_objects.agreement import gap_closed

FIGURES: Final = ("event_f1", "material", "size")
REAL: Final = "real pairs through the autoencoders"


@dataclass(frozen=True)
class Spread:
    """Mean and spread of a metric over the seeds of the sampling noise.

    Attributes:
        mean: Mean over the seeds.
        deviation: Standard deviation of a single seed; 0 with one seed.
    """

    mean: float
    deviation: float

    @staticmethod
    def of(values: Sequence[float]) -> "Spread":
        """Compute mean and deviation of ``values``."""
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        return Spread(float(np.mean(values)), deviation)


def summary(cells: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, dict[str, Spread]]:
    """Summarize every metric of every row.

    Args:
        cells: Records of each row, one per seed; among the rows is ``REAL``.
    """
    real = cells[REAL][0]["paired"]
    return {name: _row(records, real) for name, records in cells.items()}


def _row(records: Sequence[Mapping[str, Any]], real: Mapping[str, Any]) -> dict[str, Spread]:
    each = [figures_of(record, real) for record in records]
    return {name: Spread.of([one[name] for one in each]) for name in each[0]}


def figures_of(record: Mapping[str, Any], real: Mapping[str, Any]) -> dict[str, float]:
    """List every metric of one cell by a name of its own; NaN where it has no value.

    Args:
        record: Record of the cell.
        real: ``paired`` metrics of real clips, to which gaps are measured.
    """
    found: dict[str, float] = {}
    for pairing in ("paired", "re-paired", "shuffled"):
        for name, share in record[pairing].items():
            found[f"{pairing} {name}"] = _number(share["value"])
    for name in FIGURES:
        found[f"gap {name}"] = gap_closed(
            found[f"paired {name}"], found[f"re-paired {name}"], _number(real[name]["value"])
        )
    for name in ("frechet_video", "frechet_audio"):
        if name in record:
            found[name] = _number(record[name])
    return found


def _number(value: float | None) -> float:
    """Convert null to NaN, which JSON lacks: a mean over no clips."""
    return float("nan") if value is None else value


_COLUMNS: Final = (
    ("event F1", "paired event_f1"),
    ("re-paired", "re-paired event_f1"),
    ("gap closed", "gap event_f1"),
    ("F1 ±0.1 s", "paired event_f1_loose"),
    ("material", "paired material"),
    ("re-paired", "re-paired material"),
    ("gap closed", "gap material"),
    ("size", "paired size"),
    ("re-paired", "re-paired size"),
    ("gap closed", "gap size"),
    ("Fréchet video", "frechet_video"),
    ("Fréchet audio", "frechet_audio"),
)
_FAITHFUL: Final = (
    ("kind seen as named", "paired caption_kind"),
    ("kind heard", "paired caption_kind_heard"),
    ("colour seen as named", "paired caption_colour"),
    ("size seen as named", "paired caption_size"),
    ("count seen as named", "paired caption_count"),
    ("kind seen = heard", "paired kind"),
    ("events seen a clip", "paired events_seen"),
    ("events heard a clip", "paired events_heard"),
)


def tables(figures: Mapping[str, Mapping[str, Spread]]) -> str:
    """Format two Markdown tables: alignment, and faithfulness to caption and data."""
    return f"{_table(figures, _COLUMNS)}\n\n{_table(figures, _FAITHFUL)}"


def _table(figures: Mapping[str, Mapping[str, Spread]], columns: Sequence[tuple[str, str]]) -> str:
    lines = [
        "| | " + " | ".join(title for title, _ in columns) + " |",
        "| --- |" + " --- |" * len(columns),
    ]
    for name, row in figures.items():
        lines.append(f"| {name} | " + " | ".join(_text(row[key]) for _, key in columns) + " |")
    return "\n".join(lines)


def _text(spread: Spread) -> str:
    digits = 1 if abs(spread.mean) >= 10 else 3
    mean = f"{spread.mean:.{digits}f}"
    return f"{mean} ± {spread.deviation:.{digits}f}" if spread.deviation else mean
