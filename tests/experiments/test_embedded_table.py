"""From cells to figures."""

import math

import pytest

from mmdisco.experiments.miniature.grid import REAL, summary, tables
from mmdisco.io.reports import MeanStd

NAMES = (
    "event_f1",
    "event_f1_loose",
    "material",
    "size",
    "kind",
    "caption_kind",
    "caption_kind_heard",
    "caption_colour",
    "caption_size",
    "caption_count",
    "events_seen",
    "events_heard",
)


def _cell(paired: float, control: float, frechet: float = 5.0) -> dict:
    def shares(value: float) -> dict:
        return {name: {"value": value, "clips": 16, "error": 0.0} for name in NAMES}

    return {
        "clips": 16,
        "paired": shares(paired),
        "recombined": shares(control),
        "shuffled": shares(0.1),
        "frechet_video": frechet,
        "frechet_audio": 2 * frechet,
    }


@pytest.mark.parametrize(
    ("paired", "control", "closed"), [(0.9, 0.2, 1.0), (0.2, 0.2, 0.0), (0.55, 0.2, 0.5)]
)
def test_the_gap_is_measured_from_the_rows_own_control(paired, control, closed):
    figures = summary({REAL: [_cell(0.9, 0.3)], "joint": [_cell(paired, control)]})
    assert figures["joint"]["gap event_f1"].mean == pytest.approx(closed)


def test_seeds_are_averaged_with_their_deviation():
    cells = {REAL: [_cell(0.9, 0.3)], "joint": [_cell(0.5, 0.2), _cell(0.7, 0.2)]}
    spread = summary(cells)["joint"]["paired material"]
    assert spread.mean == pytest.approx(0.6)
    assert spread.deviation == pytest.approx(0.02**0.5)


def test_one_seed_has_no_deviation():
    assert MeanStd.of([0.4]) == MeanStd(0.4, 0.0)


def test_every_row_stands_in_both_tables():
    text = tables(summary({REAL: [_cell(0.9, 0.3)], "joint": [_cell(0.5, 0.2, 12.0)]}))
    assert text.count("| joint |") == 2
    assert "| 12.0 |" in text
    assert "24.0" in text


def test_a_figure_over_no_clips_is_not_a_number_but_spoils_no_other():
    empty = _cell(0.5, 0.2)
    empty["paired"]["caption_size"]["value"] = None
    figures = summary({REAL: [_cell(0.9, 0.3)], "joint": [empty]})
    assert math.isnan(figures["joint"]["paired caption_size"].mean)
    assert figures["joint"]["paired size"].mean == pytest.approx(0.5)
