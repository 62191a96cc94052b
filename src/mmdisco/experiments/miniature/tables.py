"""Markdown tables of the evaluation: metrics and gaps closed, mean ± deviation over seeds."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mmdisco.evaluation.metrics.sounding_objects.agreement import gap_closed
from mmdisco.io.reports import MeanStd, markdown_table

FIGURES: Final = ("event_f1", "material", "size")
REAL: Final = "real pairs through the autoencoders"


def summary(cells: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, dict[str, MeanStd]]:
    """Summarize every metric of every row.

    Args:
        cells: Records of each row, one per seed; among the rows is ``REAL``.
    """
    real = cells[REAL][0]["paired"]
    return {name: _row(records, real) for name, records in cells.items()}


def _row(records: Sequence[Mapping[str, Any]], real: Mapping[str, Any]) -> dict[str, MeanStd]:
    each = [figures_of(record, real) for record in records]
    return {name: MeanStd.of([one[name] for one in each]) for name in each[0]}


def figures_of(record: Mapping[str, Any], real: Mapping[str, Any]) -> dict[str, float]:
    """List every metric of one cell by a name of its own; NaN where it has no value.

    Args:
        record: Record of the cell.
        real: ``paired`` metrics of real clips, to which gaps are measured.
    """
    found: dict[str, float] = {}
    for pairing in ("paired", "recombined", "shuffled"):
        for name, share in record[pairing].items():
            found[f"{pairing} {name}"] = _number(share["value"])
    for name in FIGURES:
        found[f"gap {name}"] = gap_closed(
            found[f"paired {name}"], found[f"recombined {name}"], _number(real[name]["value"])
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
    ("recombined", "recombined event_f1"),
    ("gap closed", "gap event_f1"),
    ("F1 ±0.1 s", "paired event_f1_loose"),
    ("material", "paired material"),
    ("recombined", "recombined material"),
    ("gap closed", "gap material"),
    ("size", "paired size"),
    ("recombined", "recombined size"),
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


def tables(figures: Mapping[str, Mapping[str, MeanStd]]) -> str:
    """Format two Markdown tables: alignment, and faithfulness to caption and data."""
    return f"{_table(figures, _COLUMNS)}\n\n{_table(figures, _FAITHFUL)}"


def _table(figures: Mapping[str, Mapping[str, MeanStd]], columns: Sequence[tuple[str, str]]) -> str:
    rows = [[name, *(str(row[key]) for _, key in columns)] for name, row in figures.items()]
    return markdown_table(["", *(title for title, _ in columns)], rows)
