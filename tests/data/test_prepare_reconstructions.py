"""What ``prepare`` measures of latents and captions, and what its report shows of it."""

import json

import numpy as np
import pytest
from filmmaking import film, moving, silence

from mmdisco.data.config import PrepareConfig
from mmdisco.data.prepare.encode import BlockEncoder, ShardEncoder
from mmdisco.data.prepare.layouts import source_of
from mmdisco.data.prepare.plan import PreparePlan
from mmdisco.data.prepare.planning import make_plan
from mmdisco.data.prepare.reconstruction import reconstructed_places
from mmdisco.data.prepare.report import summary_lines
from mmdisco.data.prepare.run import prepare
from mmdisco.generation.config import SystemConfig
from mmdisco.generation.presets.registry import system_of

CAPTIONS = ("a red ball bouncing", "a red Quatschkopf", "Quatschkopf", "")


@pytest.fixture(scope="module")
def encoder(tiny_pair):
    return ShardEncoder(system_of(SystemConfig(weights=tiny_pair)))


@pytest.fixture(scope="module")
def config(tiny_pair, tmp_path_factory):
    """Four films of one clip or two, each with another caption."""
    folder = tmp_path_factory.mktemp("films")
    for seed, caption in enumerate(CAPTIONS):
        moving(folder / f"{seed}.mkv", seed, 1.8 if seed else 3.4)
        with (folder / "captions.jsonl").open("a") as file:
            file.write(json.dumps({"path": f"{seed}.mkv", "caption": caption}) + "\n")
    return PrepareConfig(
        source=folder,
        out=tmp_path_factory.mktemp("prepared"),
        captions=str(folder / "captions.jsonl"),
        validation=0.3,
        weights=tiny_pair,
        reconstructions=3,
    )


@pytest.fixture(scope="module")
def summary(config, encoder):
    list(prepare(config, encoder))
    return json.loads((config.out / "report.json").read_text())


@pytest.fixture(scope="module")
def page(summary, config):
    return (config.out / "report.html").read_text()


def test_one_clip_is_drawn_from_each_equal_stretch_of_the_plan():
    places = reconstructed_places([64, 64, 32], 16)
    drawn = [64 * block + place for block, own in enumerate(places) for place in own]
    assert [place // 10 for place in drawn] == list(range(16))
    assert len({place % 10 for place in drawn}) > 3
    assert sum(shown for own in places for shown in own.values()) == 8
    assert places == reconstructed_places([64, 64, 32], 16)


def test_of_fewer_clips_than_are_asked_for_all_are_drawn():
    assert reconstructed_places([2, 1], 16) == [{0: True, 1: True}, {0: True}]
    assert reconstructed_places([2, 1], 0) == [{}, {}]


def test_as_many_clips_as_are_asked_for_are_measured_and_played(summary, page):
    found = summary["reconstruction"]
    assert found["clips"] == 3
    least, median, most = found["psnr"]
    assert 0 < least <= median <= most < 100
    assert page.count("<video ") == 6
    assert page.count("data:video/mp4;base64,") == 6


def test_random_autoencoders_are_said_to_know_no_such_clips(summary, page):
    remarks = summary["reconstruction"]["remarks"]
    assert "the models cannot know such pictures" in remarks[0]
    assert set(remarks) <= set(summary_lines(summary))
    assert page.count("class=warning") == len(remarks)


def test_captions_and_their_words_are_counted_by_what_the_models_know(summary):
    assert summary["captions"]["vocabulary"] == {
        **{"whole": 2, "part": 1, "nothing": 1},
        **{"known_words": 2 * 3 + 1, "words": 2 * 3 + 2 + 1},
    }
    said = "captions that the models understand: 2 in whole, 1 in part, 1 not at all; 7 of 9 words"
    assert said in summary_lines(summary)


def test_hours_and_distributions_are_those_of_the_clips(summary, page):
    assert summary["hours"]["kept"] == pytest.approx(5 * 1.6 / 3600, rel=0.01)
    lengths = summary["histograms"]["file length, s"]
    assert (lengths["counts"][0], lengths["counts"][-1]) == (3, 1)
    assert sum(summary["histograms"]["loudness, dB"]["counts"]) == 5
    assert page.count("histogram of ") == 3


def test_time_that_clips_share_and_dropped_clips_count_by_themselves(config, encoder, tmp_path):
    films = tmp_path / "films"
    films.mkdir()
    moving(films / "a.mkv", 0, 3.4)
    film(films / "b.mkv", 1.8, sound=silence)
    changes = {"source": str(films), "out": str(tmp_path / "out"), "captions": "none"}
    overlapping = config.updated(changes | {"clip_stride": 0.8, "reconstructions": 0})
    list(prepare(overlapping, encoder))
    hours = json.loads((tmp_path / "out" / "report.json").read_text())["hours"]
    assert hours["kept"] == pytest.approx(3.2 / 3600, rel=0.01)
    assert hours["dropped"] == {"digital silence": pytest.approx(1.6 / 3600, rel=0.01)}


def test_nothing_is_measured_where_none_is_asked_for_and_the_folder_may_go_on_so(
    config, encoder, tmp_path
):
    changed = config.updated({"out": str(tmp_path / "out"), "reconstructions": 0})
    list(prepare(changed, encoder))
    assert "<video" not in (tmp_path / "out" / "report.html").read_text()
    assert not list(
        filter(None, (s.notice for s in prepare(changed.updated({"reconstructions": 3}), encoder)))
    )


def test_in_place_of_a_dropped_clip_the_next_one_is_measured(config, encoder, tmp_path):
    film(tmp_path / "a.mkv", 1.8, sound=silence)
    moving(tmp_path / "b.mkv", 0, 1.8)
    moving(tmp_path / "c.mkv", 1, 1.8)
    changed = config.updated({"source": str(tmp_path), "captions": "none", "validation": 0})
    *_, plan = make_plan(source_of(changed, print), encoder.form, changed)
    assert isinstance(plan, PreparePlan)
    (block,) = plan.blocks(8)
    _, records = BlockEncoder(encoder, 8).make(block, {0: False})
    assert [one["kept"] for one in records] == [False, True, True]
    assert ["reconstruction" in one for one in records] == [False, True, False]
    assert "original" not in records[1]["reconstruction"]
    assert np.isfinite(records[1]["reconstruction"]["psnr"])


def test_models_whose_latents_are_the_clips_are_not_measured():
    pair = system_of(SystemConfig(preset="mmdiffusion-landscape"))
    assert not ShardEncoder(pair).lossy
    assert pair.known_words("any text") is None
