import gradio as gr
import pytest

from mmdisco.app import page
from mmdisco.app.config import AppConfig
from mmdisco.app.fields import PRESET_CHOICE, defaults, shown
from mmdisco.app.requests import FIELDS, request_of
from mmdisco.app.studio import MadeClip, Studio
from mmdisco.app.workspace import workspace
from mmdisco.generation.config import REQUEST


@pytest.fixture(scope="module")
def studio(tiny_pair, tmp_path_factory):
    with workspace(60.0, tmp_path_factory.mktemp("page")) as made:
        yield Studio(AppConfig(weights=tiny_pair), made)


def test_the_page_has_a_control_for_every_setting_of_a_request(studio):
    built = page.build(studio.app, studio)
    names = {getattr(one, "elem_id", None) for one in built.blocks.values()}
    assert {f"mm-{name}" for name in FIELDS} <= names
    assert {f"mm-make-{name}" for name in page.TABS} <= names
    elsewhere = {"no_prompt", "samples", "no_joint_guidance", "joint_scale", "cfg_scale"}
    assert {*REQUEST} - {*FIELDS} - elsewhere == {"video", "audio", "start", "audio_track"}


def test_no_number_that_may_be_left_open_has_a_control_that_makes_it_0(studio):
    built = page.build(studio.app, studio)
    numbers = [one for one in built.blocks.values() if isinstance(one, gr.Number)]
    assert all(one.value is not None for one in numbers)


def test_controls_that_nobody_touched_ask_for_the_defaults(studio):
    inputs = ["embedded", [], *shown(defaults("embedded"), "embedded")]
    preset, values = page.PageSettings.values(inputs)
    config = request_of(values | {"prompt": "a bell"}, studio.app, preset)
    plain = request_of({"prompt": "a bell", "steps": config.steps}, studio.app, preset)
    assert config == plain


def test_a_slider_that_was_moved_counts(studio):
    shown_values = dict(zip(FIELDS, shown(defaults("embedded"), "embedded"), strict=True))
    shown_values["joint_scale_audio"] = 0.5
    inputs = ["embedded", ["joint_scale_audio"], *shown_values.values()]
    _, values = page.PageSettings.values(inputs)
    assert (values["joint_scale_audio"], values["joint_scale_video"]) == (0.5, None)
    assert values["scheduler"] is None
    assert shown_values["scheduler"] == PRESET_CHOICE


def test_a_mistake_is_one_line_and_removes_the_result(studio):
    inputs = ["embedded", [], *shown(defaults("embedded"), "embedded")]
    [(line, result)] = page._answer(page._MAKERS["together"], studio, *inputs)
    assert 'role="alert"' in line
    assert "the prompt is empty" in line
    assert result == ""


def test_a_record_fills_in_every_control_in_its_order(studio):
    values = dict.fromkeys(FIELDS) | {"prompt": "a bell", "seed": 4, "steps": 1, "joint_every": "2"}
    config = request_of(values, studio.app, "embedded")
    [made] = [one for one in studio.make(config, "clip") if isinstance(one, MadeClip)]
    preset, moved, *rest = page._restored(studio.app, str(made.paths.record))
    found = dict(zip(FIELDS, rest, strict=False))
    assert (preset, moved) == ("embedded", ["joint_scale_audio", "joint_scale_video"])
    assert (found["seed"], found["joint_every"], found["prompt"]) == (4, "2", "a bell")
    _, again = page.PageSettings.values([preset, moved, *found.values()])
    assert request_of(again, studio.app, preset).joint_every == 2
    assert len(rest) == len(FIELDS) + 2 + 3
