import json

import gradio as gr
import pytest

from mmdisco.app import page
from mmdisco.app.config import AppConfig
from mmdisco.app.fields import PRESET_CHOICE, TWO_MODELS, defaults, shown
from mmdisco.app.requests import FIELDS, MODELS, request_of
from mmdisco.app.studio import MadeClip, Studio
from mmdisco.app.workspace import workspace
from mmdisco.generation.config import REQUEST


def inputs_of(app, moved=(), **changed):
    """What stands in the controls of a page that nobody touched, apart from the changed ones."""
    begin = defaults(app.system)
    values = dict(zip(FIELDS, shown(begin, begin), strict=True)) | changed
    return ["embedded", "", "", "", list(moved), *values.values()]


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
    elsewhere |= {"modality_scale"}  # of a joint model, which the page does not offer
    elsewhere |= {"guidance"}  # the page shows what the discriminator itself reads
    assert {*REQUEST} - {*FIELDS} - elsewhere == {"video", "audio", "start", "audio_track"}


def test_no_number_that_may_be_left_open_has_a_control_that_makes_it_0(studio):
    built = page.build(studio.app, studio)
    numbers = [one for one in built.blocks.values() if isinstance(one, gr.Number)]
    assert all(one.value is not None for one in numbers)


def test_controls_that_nobody_touched_ask_for_the_defaults(studio):
    system, values = page.PageSettings.values(inputs_of(studio.app), studio.app)
    config = request_of(values | {"prompt": "a bell"}, studio.app, system)
    plain = request_of({"prompt": "a bell", "steps": config.steps}, studio.app, system)
    assert config == plain


def test_a_slider_that_was_moved_counts(studio):
    inputs = inputs_of(studio.app, ["joint_scale_audio"], joint_scale_audio=0.5)
    _, values = page.PageSettings.values(inputs, studio.app)
    assert (values["joint_scale_audio"], values["joint_scale_video"]) == (0.5, None)
    assert values["scheduler"] is None
    assert PRESET_CHOICE in inputs


def test_a_mistake_is_one_line_and_removes_the_result(studio):
    wrong = ["two models", "no/such", "", "", *inputs_of(studio.app)[4:]]
    for inputs, said in (
        (inputs_of(studio.app), "the prompt is empty"),
        (wrong, "name both models"),
    ):
        [(line, result)] = page._answer(page._MAKERS["together"], studio, *inputs)
        assert 'role="alert"' in line
        assert said in line
        assert result == ""


def test_a_record_fills_in_every_control_in_its_order(studio):
    values = dict.fromkeys(FIELDS) | {"prompt": "a bell", "seed": 4, "steps": 1}
    values |= {"joint_every": "2", "audio_prompt": "a drum"}
    config = request_of(values, studio.app, studio.app.system)
    [made] = [one for one in studio.make(config, "clip") if isinstance(one, MadeClip)]
    filled = page._restored(studio.app, str(made.paths.record))
    *systems, moved = filled[:6]
    menu, *names, place = systems
    rest = filled[6 : 6 + len(FIELDS)]
    assert len(filled) == 6 + len(FIELDS) + 2 + 3
    found = dict(zip(FIELDS, rest, strict=True))
    assert (menu, moved) == ("embedded", ["joint_scale_audio", "joint_scale_video"])
    assert (names, place["visible"]) == (["", "", ""], False)
    assert (found["seed"], found["joint_every"], found["prompt"]) == (4, "2", "a bell")
    assert found["audio_prompt"] == "a drum"
    system, again = page.PageSettings.values([menu, *names, moved, *rest], studio.app)
    assert request_of(again, studio.app, system).joint_every == 2


def test_a_record_of_two_models_fills_in_their_names(studio, tmp_path):
    config = request_of({"prompt": "a bell", "steps": 1}, studio.app, studio.app.system)
    [made] = [one for one in studio.make(config, "clip") if isinstance(one, MadeClip)]
    record = json.loads(made.paths.record.read_text())
    del record["preset"]
    ids = dict(zip(MODELS, ("a/video", "an/audio", "a/judge"), strict=True))
    (tmp_path / "two.json").write_text(json.dumps(record | ids))
    menu, *names, place, _ = page._restored(studio.app, str(tmp_path / "two.json"))[:6]
    assert (menu, names, place["visible"]) == (TWO_MODELS, [*ids.values()], True)


def test_a_preset_that_is_chosen_keeps_the_prompts_and_brings_its_own_scales(studio):
    place, moved, *rest = page._begin(studio.app, "mmdiffusion-landscape", "", "", "")
    found = dict(zip(FIELDS, rest, strict=True))
    assert (place["visible"], moved) == (False, [])
    assert found["steps"] == 20
    assert "value" not in found["prompt"]
    place, moved, *_ = page._begin(studio.app, TWO_MODELS, "", "", "")
    assert (place["visible"], moved) == (True, [])
