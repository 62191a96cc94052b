import json
import os
import time
import wave

import numpy as np
import pytest
from closeness import assert_close

from mmdisco import generate
from mmdisco.app import cards
from mmdisco.app.compare import score
from mmdisco.app.config import AppConfig
from mmdisco.app.inside import GradientRecording, draw_inside, event_times
from mmdisco.app.requests import request_of
from mmdisco.app.studio import MadeClip, Progress, Studio
from mmdisco.app.workspace import PREFIX, workspace
from mmdisco.errors import UserError
from mmdisco.media.clip import Audio
from mmdisco.media.read import read_audio
from mmdisco.media.write import write_audio


@pytest.fixture
def app(tiny_pair):
    return AppConfig(weights=tiny_pair)


@pytest.fixture
def studio(app, tmp_path):
    with workspace(60.0, tmp_path) as made:
        yield Studio(app, made)


def request(studio, given=None, **values):
    values = {"prompt": "a drum being hit", "steps": 3, **values}
    return request_of(values, studio.app, studio.app.system, given)


def made(studio, config, recording=None):
    *steps, clip = studio.make(config, "clip", recording)
    assert isinstance(clip, MadeClip)
    return steps, clip


def test_a_clip_of_the_page_is_that_of_the_library(studio):
    steps, one = made(studio, request(studio, seed=5))
    [same] = generate("a drum being hit", seed=5, steps=3, weights=studio.app.weights)
    np.testing.assert_array_equal(one.clip.video.frames, same.video.frames)
    np.testing.assert_array_equal(one.clip.audio.waveform, same.audio.waveform)
    sampling = [one for one in steps if isinstance(one, Progress) and one.doing == "sampling"]
    assert [one.done for one in sampling] == [0, 1, 2, 3]
    assert sampling[-1].left == 0
    assert all(path.stat().st_size for path in one.paths.all)
    with wave.open(str(one.paths.sound)) as sound:
        assert sound.getnframes() == len(same.audio.waveform)


def test_candidates_come_with_their_logits_and_the_best_is_kept(studio):
    _, one = made(studio, request(studio, candidates=3))
    assert len(one.logits) == 3
    said = cards.result({"Together": one})
    assert f"{max(one.logits):.2f}" in said
    assert said.index("(kept)") < said.index(f"{min(one.logits):.2f}")


def test_the_given_sound_is_untouched_and_the_record_names_no_folder(studio, tmp_path):
    heard = np.sin(np.arange(32_000, dtype=np.float32) / 9)
    write_audio(tmp_path / "tone.wav", Audio(heard, 16_000))
    _, one = made(studio, request(studio, {"audio": str(tmp_path / "tone.wav")}))
    assert_close(one.clip.audio.waveform, heard[:25_600], 2**-15, scale=1)
    assert len(read_audio(one.paths.clip).waveform) == 25_600
    assert json.loads(one.paths.record.read_text())["audio"] == "tone.wav"
    assert not any(str(tmp_path) in line for line in one.notices)


def test_a_run_that_is_left_ends_at_its_step(studio):
    making = studio.make(request(studio, steps=50), "clip")
    for step in making:
        if step.done == 2:
            break
    making.close()
    assert not list(studio.workspace.clips.iterdir())


def test_steps_of_a_preset_beyond_the_limit_are_refused(app, tmp_path):
    with workspace(60.0, tmp_path) as place:
        studio = Studio(app.updated({"max_steps": 2}), place)
        with pytest.raises(UserError, match="8 steps: ask for at most 2"):
            list(
                studio.make(request_of({"prompt": "a bell"}, studio.app, studio.app.system), "clip")
            )


def test_a_recording_notes_every_step_and_changes_nothing(studio, tmp_path):
    recording = GradientRecording()
    _, plain = made(studio, request(studio))
    _, noted = made(studio, request(studio), recording)
    np.testing.assert_array_equal(noted.clip.audio.waveform, plain.clip.audio.waveform)
    assert [one.step for one in recording.readings] == [1, 2, 3]
    levels = [one.log_snr for one in recording.readings]
    assert levels == sorted(levels)
    assert all(one.gradient.audio > 0 and one.gradient.video > 0 for one in recording.readings)
    events = event_times(noted.clip, sounding_objects=True)
    draw_inside(tmp_path / "inside.png", recording.readings, noted.clip, events)
    assert (tmp_path / "inside.png").read_bytes().startswith(b"\x89PNG")


def test_gradients_that_are_reused_are_noted_once(studio):
    recording = GradientRecording()
    made(studio, request(studio, joint_every=2), recording)
    assert [one.step for one in recording.readings] == [1, 3]


def test_clips_are_scored_as_candidates_are_and_the_others_have_a_reason(studio, tmp_path):
    _, one = made(studio, request(studio))
    (tmp_path / "text.mp4").write_text("no clip")
    system = studio.system(studio.app.system)
    files = [one.paths.clip, one.paths.record, tmp_path / "text.mp4"]
    good, bad = score(files, "a bell", system, studio.app, embedded=True)
    assert good.caption == "a drum being hit"
    assert good.logit is not None
    assert np.isfinite(good.logit)
    assert good.sync is not None
    assert good.event_f1 is not None
    assert np.isfinite(good.sync)
    assert 0 <= good.event_f1 <= 1
    assert bad.logit is None
    assert bad.issue.startswith("cannot read text.mp4")
    [other] = score(files[:1], "a bell", system, studio.app, embedded=False)
    assert (other.sync, other.event_f1) == (good.sync, None)
    assert "event F1" not in cards.comparison([other])
    table = cards.comparison([bad, good])
    assert f"{good.sync:.2f}" in table
    assert table.index("clip.mp4") < table.index("text.mp4")


def test_too_many_clips_and_none_are_refused(studio, tmp_path):
    system, app = studio.system(studio.app.system), studio.app.updated({"max_compared": 1})
    for files, said in (([], "there are no clips"), ([tmp_path / "a.mp4"] * 2, "2 clips")):
        with pytest.raises(UserError, match=said):
            list(score(files, "", system, app, embedded=True))


def test_what_a_user_writes_is_no_markup_in_the_page(studio):
    assert "<script>" not in cards.wrong("<script>alert(1)</script>")
    _, one = made(studio, request(studio, prompt="a drum <b>being</b> hit"))
    assert "<b>being" not in cards.result({"Together": one})


def test_old_files_are_deleted_and_the_folder_with_the_page(tmp_path):
    with workspace(60.0, tmp_path) as place:
        old, new = place.new_clip("old"), place.new_clip("new")
        for one in (old, new):
            one.clip.write_bytes(b"x")
        for path in (old.clip, old.clip.parent):
            os.utime(path, (0, time.time() - 100))
        place.sweep(time.time())
        assert (old.clip.exists(), new.clip.exists()) == (False, True)
        assert place.root.stat().st_mode & 0o077 == 0
    assert not list(tmp_path.glob(f"{PREFIX}*"))


def test_what_a_killed_page_left_is_deleted_and_what_a_living_one_has_is_not(tmp_path):
    (tmp_path / f"{PREFIX}dead").mkdir()
    (tmp_path / f"{PREFIX}dead" / "lock").touch()
    with workspace(60.0, tmp_path) as living, workspace(60.0, tmp_path):
        assert living.uploads.is_dir()
        assert not (tmp_path / f"{PREFIX}dead").exists()
