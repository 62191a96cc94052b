"""``mmdisco experiments ablate`` on prepared clips."""

import json

import pytest

from mmdisco.cli.ablate import execute, setting_of
from mmdisco.errors import UserError
from mmdisco.experiments.ablation import on_clips
from mmdisco.experiments.ablation.grid import run
from mmdisco.experiments.ablation.study import Variant
from mmdisco.experiments.config import AblateConfig


def order_of(study, prepared, made, tiny_pair, out, **more):
    given = {"data": prepared, "fakes": made, "weights": tiny_pair, "quick": True}
    return AblateConfig(study=study, out=out, jobs=1, **given, **more)


def test_held_out_clips_tell_what_training_is_worth(prepared, made, tiny_pair, tmp_path):
    order = order_of("negatives", prepared, made, tiny_pair, tmp_path, steps=2)
    text = next(execute(order))
    assert "| AUC against shuffled |" in text
    record = json.loads((tmp_path / "negatives" / "results.json").read_text())
    assert [variant["name"] for variant in record["variants"]][1:] == [
        "fakes",
        "mixed",
        "shuffled real pairs",
    ]
    # no clips are made unless they are asked for
    assert not (tmp_path / "clips").exists()


def test_clips_are_made_and_measured_when_asked_for(
    prepared, made, tiny_pair, tmp_path, monkeypatch
):
    monkeypatch.setattr(on_clips, "METRICS", ("av-align",))
    order = order_of("scales", prepared, made, tiny_pair, tmp_path, clips=10)
    setting = setting_of(order)
    variants = [Variant("bases", setting.baseline().sampling.unguided)]
    setting.prepare(variants)
    assert list(run(setting, variants, 1, 1)) == [("cells", 1, 1)]
    (cell,) = (tmp_path / "cells").iterdir()
    figures = json.loads(cell.read_text())["results"]
    assert any(name.startswith("AV-Align") for name in figures)
    assert len(list((tmp_path / "clips").glob("bases-*/*.mp4"))) == 10
    assert len(list((tmp_path / "clips" / "real").glob("*.mp4"))) == 4


@pytest.mark.parametrize(
    ("study", "more", "said"),
    [
        ("scales", {}, "give --discriminator FOLDER"),
        ("scales", {"discriminator": "x"}, "give --clips"),
        ("loss", {"clips": 1}, "at least 2"),
        ("contrast", {}, "many clips of one caption"),
    ],
)
def test_what_cannot_be_compared_is_refused(study, more, said, prepared, made, tiny_pair, tmp_path):
    order = order_of(study, prepared, made, tiny_pair, tmp_path / "out", **more)
    with pytest.raises(UserError, match=said):
        list(execute(order))
    assert not (tmp_path / "out").exists()
