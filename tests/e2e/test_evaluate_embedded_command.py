"""``mmdisco experiments miniature`` on a pair of random weights."""

import json

import pytest

from mmdisco.errors import UserError
from mmdisco.experiments.miniature.grid import evaluate

CLIPS = 66  # the least is 65, one more than features


@pytest.fixture(scope="module")
def results(tiny_pair, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluation")
    with pytest.MonkeyPatch.context() as patch:
        for module in ("evaluation", "grid"):
            patch.setattr(f"mmdisco.experiments.miniature.{module}.REFERENCE_CLIPS", 96)
        text = evaluate(out, tiny_pair, ["joint"], clips=CLIPS, seeds=1, jobs=2)
    return out, text


def test_the_table_has_the_real_pairs_and_the_row_asked_for(results):
    _, text = results
    assert "| real pairs through the autoencoders |" in text
    assert "| joint |" in text
    assert "unguided baseline" not in text


def test_every_figure_stands_with_its_conditions(results):
    out, text = results
    record = json.loads((out / "results.json").read_text())
    assert record["conditions"]["clips a row and seed"] == CLIPS
    assert record["conditions"]["seeds"] == [0]
    assert {"torch", "mmdisco", "diffusers"} < record["conditions"].keys()
    assert 0 <= record["figures"]["joint"]["paired event_f1"]["mean"] <= 1
    assert (out / "tables.md").read_text().strip() == text.strip()


def test_a_second_run_makes_no_cell_again(results, tiny_pair):
    out, text = results
    times = {path: path.stat().st_mtime_ns for path in (out / "cells").iterdir()}
    assert evaluate(out, tiny_pair, ["joint"], clips=CLIPS, seeds=1, jobs=2) == text
    assert {path: path.stat().st_mtime_ns for path in (out / "cells").iterdir()} == times


@pytest.mark.parametrize(
    ("names", "clips", "seeds", "message"),
    [
        (["nonsense"], 80, 1, "choose of unguided baseline, joint"),
        ([], 64, 1, "at least 65 clips"),
        ([], 80, 0, "at least 65 clips, 1 seed"),
    ],
)
def test_bad_input_is_refused_before_anything_is_made(
    tiny_pair, tmp_path, names, clips, seeds, message
):
    with pytest.raises(UserError, match=message):
        evaluate(tmp_path / "out", tiny_pair, names, clips=clips, seeds=seeds, jobs=1)
    assert not (tmp_path / "out").exists()
