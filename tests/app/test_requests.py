import json
from fractions import Fraction

import av
import numpy as np
import pytest

from mmdisco.app.config import AppConfig
from mmdisco.app.requests import FIELDS, expect_media, request_of, restore, unguided
from mmdisco.app.studio import MadeClip, Studio
from mmdisco.app.workspace import workspace
from mmdisco.errors import UserError
from mmdisco.generation.config import GenerateConfig
from mmdisco.media.clip import Audio
from mmdisco.media.write import write_audio

VALUES = dict.fromkeys(FIELDS) | {"prompt": "a drum being hit", "seed": 3}


@pytest.fixture
def app(tiny_pair):
    return AppConfig(weights=tiny_pair, max_prompt_length=40, max_upload_seconds=60)


def made_by(studio, config):
    made = [one for one in studio.make(config, "clip") if isinstance(one, MadeClip)]
    return made[0]


def test_empty_fields_are_left_to_the_preset(app):
    config = request_of(VALUES | {"negative_prompt": " ", "batch_cfg": False}, app, app.system)
    assert config == GenerateConfig(prompt="a drum being hit", seed=3, weights=app.weights)


def test_a_field_that_is_filled_in_is_an_option_of_the_request(app):
    values = VALUES | {"steps": 7, "scheduler": "euler", "joint_scale_audio": 0.0}
    config = request_of(values, app, app.system)
    assert (config.steps, config.scheduler, config.joint_scale_audio) == (7, "euler", 0.0)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"prompt": "drum " * 4000}, "the prompt has 20,000 letters: write at most 40"),
        ({"negative_prompt": "x" * 41}, "the prompt has 41 letters"),
        ({"steps": 201}, "201 steps: ask for at most 200"),
        ({"candidates": 17}, "17 candidates: ask for at most 16"),
        ({"joint_scale_video": 21.0}, "a joint scale of 21: ask for 0 to 20"),
    ],
)
def test_what_is_beyond_a_limit_is_refused_in_one_line(values, said, app):
    with pytest.raises(UserError, match=said) as caught:
        request_of(VALUES | values, app, app.system)
    assert "\n" not in str(caught.value)


def test_a_scale_of_the_given_side_is_left_out(app, tmp_path):
    write_audio(tmp_path / "a.wav", Audio(np.zeros(16_000, np.float32), 16_000))
    values = VALUES | {"joint_scale_audio": 1.0, "joint_scale_video": 2.0}
    config = request_of(values, app, app.system, {"audio": str(tmp_path / "a.wav"), "start": 0.5})
    assert (config.joint_scale_audio, config.joint_scale_video) == (None, 2.0)
    assert config.start == Fraction(1, 2)


def test_a_prompt_of_a_given_sound_is_refused(app, tmp_path):
    write_audio(tmp_path / "a.wav", Audio(np.zeros(16_000, np.float32), 16_000))
    with pytest.raises(UserError, match="has no effect on a given sound: leave it empty"):
        request_of(
            VALUES | {"audio_prompt": "a bell"}, app, app.system, {"audio": tmp_path / "a.wav"}
        )


def test_two_models_are_named_by_ids_or_by_the_folders_of_the_command(app, tmp_path):
    two = AppConfig(video_model="films", audio_model=str(tmp_path), discriminator="mine", fps=8)
    assert two.of_models("films", str(tmp_path), "mine") == two.system
    other = two.of_models("some/video", " some/audio ")
    assert (other.video_model, other.audio_model) == ("some/video", "some/audio")
    assert (other.discriminator, other.fps, other.preset) == (None, 8, None)
    assert app.of_models("some/video", "some/audio").fps is None
    assert two.of_preset("embedded").fps is None
    for names in (
        (str(tmp_path), "some/audio"),
        ("a/b", "../b"),
        ("a/b", "b"),
        ("a/b", "a/b", "c"),
    ):
        with pytest.raises(UserError, match="give the id of a model"):
            app.of_models(*names)
    with pytest.raises(UserError, match="name both models"):
        app.of_models("some/video", " ")


def test_a_folder_of_this_machine_is_no_id(app, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some" / "video").mkdir(parents=True)
    with pytest.raises(UserError, match="some/video: give the id of a model"):
        app.of_models("some/video", "some/audio")


def test_the_unguided_request_differs_in_guidance_alone(app):
    values = VALUES | {"joint_scale_audio": 1.0, "joint_every": 2, "candidates": 2, "steps": 5}
    config = request_of(values, app, app.system)
    alone = unguided(config)
    assert alone.no_joint_guidance
    differing = {name for name, one in alone if one != getattr(config, name)}
    assert differing == {"no_joint_guidance", "joint_scale_audio", "joint_every", "candidates"}


def test_a_text_that_is_named_a_video_is_refused(app, tmp_path):
    (tmp_path / "notes.mp4").write_text("no video")
    with pytest.raises(UserError, match=r"^cannot read notes\.mp4: "):
        expect_media(tmp_path / "notes.mp4", "video", app)


def test_a_video_that_lasts_for_hours_is_refused_before_it_is_read(app, tmp_path):
    path = tmp_path / "long.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(1, 60))
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        for index in range(180):
            frame = av.VideoFrame(16, 16, "yuv420p")
            frame.pts, frame.time_base = index, Fraction(60)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(UserError, match=r"^long\.mp4 lasts 3 h: upload at most 1 min$"):
        expect_media(path, "video", app)


def test_a_sound_is_no_video_and_a_large_file_is_refused(app, tmp_path):
    path = tmp_path / "a.wav"
    write_audio(path, Audio(np.zeros(600_000, np.float32), 16_000))
    with pytest.raises(UserError, match=r"^a\.wav has no picture track"):
        expect_media(path, "video", app)
    small = app.updated({"max_upload_size": 1})
    with pytest.raises(UserError, match=r"^a\.wav has 1 MB: upload at most 1 MB"):
        expect_media(path, "audio", small)


def test_a_record_fills_in_the_settings_that_make_the_clip_again(app, tmp_path):
    with workspace(60.0, tmp_path) as made:
        studio = Studio(app, made)
        values = VALUES | {"steps": 2, "joint_scale_audio": 1.5, "cfg_scale_video": 2.0}
        first = made_by(studio, request_of(values, app, app.system))
        found = restore(first.paths.record, app)
        again = made_by(studio, request_of(found.values, app, found.system))
        assert again.config == first.config
        np.testing.assert_array_equal(again.clip.audio.waveform, first.clip.audio.waveform)
        assert (found.side, found.values["seed"]) == (None, 3)


def test_a_record_of_a_batch_fills_in_the_seed_of_its_own_sample(app, tmp_path):
    with workspace(60.0, tmp_path) as made:
        studio = Studio(app, made)
        first = made_by(studio, request_of(VALUES | {"steps": 1}, app, app.system))
        record = json.loads(first.paths.record.read_text())
        first.paths.record.write_text(json.dumps(record | {"samples": 4, "sample": 2}))
        assert restore(first.paths.record, app).values["seed"] == 5


def test_a_record_of_another_system_names_the_option_that_it_needs(app, tmp_path):
    with workspace(60.0, tmp_path) as made:
        first = made_by(Studio(app, made), request_of(VALUES | {"steps": 1}, app, app.system))
        record = json.loads(first.paths.record.read_text())
        first.paths.record.write_text(json.dumps(record | {"device": "cuda"}))
        with pytest.raises(UserError, match="was made with --device 'cuda': start"):
            restore(first.paths.record, app)
        del record["preset"]
        record |= {"video_model": "films", "audio_model": "sounds"}
        first.paths.record.write_text(json.dumps(record))
        with pytest.raises(UserError, match="app --video-model films --audio-model sounds` to"):
            restore(first.paths.record, app)
        del record["video_model"], record["audio_model"]
        first.paths.record.write_text(json.dumps(record | {"joint_model": "both"}))
        with pytest.raises(UserError, match="which the page does not offer"):
            restore(first.paths.record, app)


def test_what_is_no_record_is_refused_by_its_name(app, tmp_path):
    (tmp_path / "no.json").write_text("{}")
    with pytest.raises(UserError, match=r"^no\.json is no record of a clip"):
        restore(tmp_path / "no.json", app)
