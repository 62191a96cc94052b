import shutil
import warnings
from collections import deque
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from closeness import assert_close, is_close

from mmdisco import generate
from mmdisco.adapters.miniature.model import read_given_audio, read_given_video
from mmdisco.core.av import AV
from mmdisco.errors import UserError
from mmdisco.generation.generate import Request, prepare, resolve
from mmdisco.generation.presets.miniature import folder_of
from mmdisco.generation.presets.miniature_system import MiniatureSystem
from mmdisco.media.clip import Audio, AudioVideo, Video
from mmdisco.media.read import CEILING, read_audio, read_video
from mmdisco.media.sounding_objects.dataset import example
from mmdisco.media.write import write_audio, write_clip, write_video

PROMPT = "a red ball bouncing"


def same(one, other, rtol=0.0):
    """Whether both sides differ by less than this share of full scale."""
    return is_close(one.video.frames, other.video.frames, rtol, scale=1) and is_close(
        one.audio.waveform, other.audio.waveform, rtol, scale=1
    )


def grey(frames, fps, height=48, width=80):
    levels = np.linspace(0.2, 0.8, frames, dtype=np.float32)
    return Video(np.tile(levels[:, None, None, None], (1, height, width, 3)), fps)


def tone(seconds, rate):
    t = np.arange(round(seconds * rate)) / rate
    return Audio((0.5 * np.sin(2 * np.pi * 440 * t)).astype(np.float32), rate)


@pytest.fixture(scope="module")
def clip(tiny_pair):
    (made,) = generate(PROMPT, weights=tiny_pair)
    return made


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A real clip of 1.6 s in a file."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    write_clip(path, example(0, 0).clip)
    return path


def test_clip_lasts_as_long_as_the_pair_makes_them(clip):
    assert clip.video.frames.shape == (16, 64, 64, 3)
    assert clip.video.fps == 10
    assert clip.audio.waveform.shape == (25_600,)
    assert clip.audio.sample_rate == 16_000


def test_same_seed_is_the_same_clip(clip, tiny_pair):
    (again,) = generate(PROMPT, weights=tiny_pair)
    assert same(clip, again)


def test_a_sample_of_a_batch_is_the_clip_of_its_own_seed(tiny_pair):
    batch = generate(PROMPT, seed=4, samples=3, weights=tiny_pair)
    assert len(batch) == 3
    (alone,) = generate(PROMPT, seed=6, weights=tiny_pair)
    # the first level's α is 1e-5, so that its clean latent magnifies the rounding of a batch, and
    # the phases of a random network's sound magnify it again
    assert_close(batch[2].video.frames, alone.video.frames, rtol=1e-3, scale=1)
    assert_close(batch[2].audio.waveform, alone.audio.waveform, rtol=0.1, scale=1)
    assert not same(batch[1], alone, rtol=0.2)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"prompt": "a small blue bell"},
        {"steps": 9},
        {"scheduler": "dpm++2m"},
        {"joint_scale": AV(2.0, 1.0)},
        {"joint_scale": AV(1.0, 2.0)},
        {"guidance_scale": AV(3.0, 1.5)},
        {"guidance_scale": AV(1.5, 3.0)},
    ],
    ids=str,
)
def test_every_setting_changes_the_clip(change, clip, tiny_pair):
    (other,) = generate(**({"prompt": PROMPT} | change), weights=tiny_pair)
    assert not same(clip, other, rtol=1e-2)


def test_whole_numbers_are_scales_too(tiny_pair):
    sampling = resolve(Request(PROMPT, joint_scale=AV(2, 0)), MiniatureSystem(tiny_pair).sampling())
    assert sampling.joint_scale == AV(2.0, 0.0)
    assert isinstance(sampling.joint_scale.audio, float)


def test_what_a_request_leaves_open_is_the_best_of_the_pair_for_its_task(tiny_pair):
    own = MiniatureSystem(tiny_pair).sampling()
    file = Path("file")
    assert resolve(Request(PROMPT), own) == own
    assert resolve(Request(video=file), own).joint_scale == AV(own.video_to_audio, 0.0)
    assert resolve(Request(audio=file), own).joint_scale == AV(0.0, own.audio_to_video)
    wished = Request(video=file, joint_scale=AV(3.0, 3.0), steps=5, scheduler="euler")
    assert resolve(wished, own).joint_scale == AV(3.0, 0.0)
    assert (resolve(wished, own).steps, resolve(wished, own).solver) == (5, "euler")


def test_sound_is_made_for_the_picture_as_it_was_given(film, tiny_pair):
    (made,) = generate(video=film, weights=tiny_pair)
    np.testing.assert_array_equal(made.video.frames, read_video(film).frames)
    assert made.audio.seconds == Fraction(8, 5)
    (bases,) = generate(video=film, joint_scale=AV(0.0, 0.0), weights=tiny_pair)
    assert not is_close(made.audio.waveform, bases.audio.waveform, 1e-2, scale=1)


def test_picture_is_made_for_the_sound_as_it_was_given(film, tiny_pair):
    (made,) = generate(audio=film, weights=tiny_pair)
    np.testing.assert_array_equal(made.audio.waveform, read_audio(film).waveform[:25_600])
    (bases,) = generate(audio=str(film), joint_scale=AV(0.0, 0.0), weights=tiny_pair)
    assert not is_close(made.video.frames, bases.video.frames, 1e-2, scale=1)


def test_prompt_counts_beside_a_given_file_and_may_be_left_out(film, tiny_pair):
    (without,) = generate(video=film, weights=tiny_pair)
    (with_prompt,) = generate(PROMPT, video=film, weights=tiny_pair)
    assert not same(without, with_prompt, rtol=1e-2)


def test_longer_files_are_cut_and_shorter_ones_filled(tmp_path):
    for frames, fps in ((40, Fraction(20)), (10, Fraction(20))):
        write_video(tmp_path / "v.mp4", grey(frames, fps))
        seen, shown = read_given_video(tmp_path / "v.mp4")
        assert (seen.frames.shape, seen.fps) == ((16, 64, 64, 3), 10)
        assert (shown.frames.shape, shown.fps) == ((32, 48, 80, 3), 20)
    np.testing.assert_array_equal(shown.frames[9], shown.frames[31])
    for seconds in (3.0, 0.5):
        write_audio(tmp_path / "a.wav", tone(seconds, 44_100))
        heard, played = read_given_audio(tmp_path / "a.wav")
        assert (len(heard.waveform), heard.sample_rate) == (25_600, 16_000)
        assert (len(played.waveform), played.sample_rate) == (70_560, 44_100)
    assert np.abs(played.waveform[22_050:]).max() == 0
    assert np.abs(heard.waveform[8_100:]).max() < 1e-2


def test_slow_pictures_end_with_the_sound(tmp_path):
    write_video(tmp_path / "v.mp4", grey(2, Fraction(1)))
    _, shown = read_given_video(tmp_path / "v.mp4")
    assert shown.seconds == Fraction(8, 5)
    assert shown.frames[0].mean() < 0.3
    assert shown.frames[-1].mean() > 0.7


def test_large_and_fast_pictures_are_scaled_down_and_thinned_out(tmp_path, monkeypatch):
    monkeypatch.setattr("mmdisco.adapters.miniature.model.MOST_PIXELS", 24 * 40)
    write_video(tmp_path / "v.mp4", grey(192, Fraction(120), height=48, width=80))
    _, shown = read_given_video(tmp_path / "v.mp4")
    assert shown.frames.shape == (96, 24, 40, 3)
    assert (shown.fps, shown.seconds) == (60, Fraction(8, 5))


def test_sound_of_a_rate_that_no_clip_can_have_is_resampled(tmp_path):
    write_audio(tmp_path / "a.wav", tone(1.6, 192_000))
    heard, played = read_given_audio(tmp_path / "a.wav")
    assert (heard.sample_rate, played.sample_rate) == (16_000, 48_000)
    write_clip(tmp_path / "c.mp4", AudioVideo(played, grey(16, Fraction(10))))


def test_unknown_words_are_named_and_ignored(clip, tiny_pair):
    with pytest.warns(UserWarning, match="'baal' is read as 'ball'|'quickly'"):
        (odd,) = generate("a red ball bouncing baal quickly", weights=tiny_pair)
    assert same(clip, odd)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert prepare(Request(PROMPT), MiniatureSystem(tiny_pair)).warnings == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, "the prompt is empty: describe"),
        ({"prompt": "  "}, "the prompt is empty: describe"),
        ({"prompt": "\udcff ball"}, "no text"),
        ({"prompt": PROMPT, "seed": -1}, "seed -1: give 0 or more"),
        ({"prompt": PROMPT, "samples": 0}, "0 samples: ask for at least 1"),
        ({"prompt": PROMPT, "samples": 10**6}, "1000000 samples: ask for at most"),
        ({"prompt": PROMPT, "steps": 0}, "0 steps: ask for at least 1"),
        ({"prompt": PROMPT, "steps": 10**9}, "steps: ask for at most 1000"),
        ({"prompt": PROMPT, "joint_scale": AV(float("nan"), 1.0)}, "joint scale nan and 1.0"),
        ({"prompt": PROMPT, "guidance_scale": AV(1.0, float("inf"))}, "guidance scale 1.0 and inf"),
        ({"video": Path("v"), "audio": Path("a")}, "a video and a sound are given"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_request_out_of_range_is_refused(wrong, said):
    with pytest.raises(UserError, match=said):
        Request(**wrong)


def test_prompt_that_means_nothing_is_refused(tiny_pair):
    with pytest.raises(UserError, match="no word of 'xyzzy' is known"):
        prepare(Request("xyzzy"), MiniatureSystem(tiny_pair))


def test_unknown_scheduler_is_refused(tiny_pair):
    with pytest.raises(UserError, match="unknown solver 'heun': choose one of ddim"):
        prepare(Request(PROMPT, scheduler="heun"), MiniatureSystem(tiny_pair))


def test_numbers_that_ran_away_are_refused(tiny_pair):
    prepared = prepare(Request(PROMPT), MiniatureSystem(tiny_pair))
    shapes = prepared.generation.model.latent_shapes(prepared.generation.seconds)
    lost = shapes.map(lambda shape: torch.full((1, *shape), float("nan")))
    with pytest.raises(UserError, match="ask for more steps or smaller scales"):
        prepared.clips(lost)


def test_folder_without_a_pair_is_refused(tmp_path, tiny_pair):
    with pytest.raises(UserError, match="is not there"):
        folder_of(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match="no weights of such a pair"):
        folder_of(tmp_path)
    shutil.copy(tiny_pair / "config.json", tmp_path)
    with pytest.raises(UserError, match="is not there"):
        prepare(Request(PROMPT), folder_of(tmp_path))


def test_damaged_weights_are_refused_by_the_checksum(tmp_path, tiny_pair):
    broken = shutil.copytree(tiny_pair, tmp_path / "pair") / "video_denoiser.safetensors"
    content = bytearray(broken.read_bytes())
    content[-1] ^= 1
    broken.write_bytes(content)
    with pytest.raises(UserError, match=r"video_denoiser\.safetensors is damaged"):
        generate(PROMPT, weights=tmp_path / "pair")


def test_loud_sound_is_brought_down(tiny_pair):
    prepared = prepare(Request(PROMPT, steps=2), MiniatureSystem(tiny_pair))
    z = deque(prepared.run(), maxlen=1).pop()
    (clip,) = prepared.clips(replace(z, audio=z.audio * 40))
    assert_close(np.abs(clip.audio.waveform).max(), CEILING)


@pytest.mark.parametrize("side", ["audio", "video"])
def test_decoder_that_leaves_the_range_of_numbers_ends_the_run_in_one_line(side, tiny_pair):
    prepared = prepare(Request("a red ball", steps=2), MiniatureSystem(tiny_pair))
    z = deque(prepared.run(), maxlen=1).pop()
    wild = replace(z, **{side: torch.full_like(getattr(z, side), 3e38)})
    assert wild.audio.isfinite().all()
    assert wild.video.isfinite().all()
    with pytest.raises(UserError, match=r"not finite numbers: ask for --dtype float32") as caught:
        prepared.clips(wild)
    assert "\n" not in str(caught.value)
