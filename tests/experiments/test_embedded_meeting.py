"""The command that compares the meeting with our own loop on the embedded pair."""

import json
import math
import sys

import embedded_meeting
import pytest


def test_it_writes_a_table_from_two_clips(tmp_path, monkeypatch, capsys):
    words = ["embedded_meeting.py", "--clips", "2", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", words)
    embedded_meeting.main()
    record = json.loads((tmp_path / "results.json").read_text())
    assert record["clips"] == 2
    assert record["comparison"].keys() == set(embedded_meeting.TASKS)
    for task in embedded_meeting.TASKS:
        own, met = (record["cells"][f"{task} {way}"] for way in embedded_meeting.WAYS)
        # the same noise, and levels that differ by the rounding of timesteps
        assert own["paired"]["caption_kind"] == met["paired"]["caption_kind"]
        assert own["paired"].keys() == met["paired"].keys()
    page = (tmp_path / "README.md").read_text()
    assert page.count("| joint |") == len(embedded_meeting.FIGURES)
    assert page in capsys.readouterr().out
    # finished cells are kept
    monkeypatch.setattr(embedded_meeting.Bench, "load", None)
    embedded_meeting.main()


def test_a_gap_and_its_error():
    def shares(value, error):
        return {"event_f1": {"value": value, "error": error}}

    real = {"paired": shares(1.0, 0.0)}
    record = {"paired": shares(0.7, 0.03), "recombined": shares(0.2, 0.04)}
    closed, error = embedded_meeting.gap(record, real, "event_f1")
    assert closed == pytest.approx(0.5 / 0.8)
    assert error == pytest.approx(math.hypot(0.03, 0.04 * 0.3 / 0.8) / 0.8)
    closed, error = embedded_meeting.gap(
        {**record, "recombined": shares(1.0, 0.1)}, real, "event_f1"
    )
    assert math.isnan(closed)
    assert math.isnan(error)
