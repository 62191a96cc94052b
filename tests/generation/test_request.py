import inspect
import json
import re
import shutil
import warnings
from collections import deque
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from closeness import BATCH, assert_close, is_close

from mmdisco import generate
from mmdisco.adapters.miniature import FORM
from mmdisco.errors import UserError
from mmdisco.generation.config import GenerateConfig, SystemConfig
from mmdisco.generation.generate import prepare, sampler_config
from mmdisco.generation.presets.miniature import MiniatureSystem, folder_of
from mmdisco.generation.resolve import check, resolve
from mmdisco.media.clip import CEILING, Audio, AudioVideo, Video
from mmdisco.media.conditioning_clip import read_conditioning_audio, read_conditioning_video
from mmdisco.media.read import read_audio, read_video
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
    assert_close(batch[2].video.frames, alone.video.frames, rtol=BATCH, scale=1)
    # the phases of a random network's sound magnify the difference of its latents again
    assert_close(batch[2].audio.waveform, alone.audio.waveform, rtol=0.1, scale=1)
    assert not same(batch[1], alone, rtol=0.2)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"prompt": "a small blue bell"},
        {"steps": 9},
        {"scheduler": "dpm++2m"},
        {"joint_scale_audio": 2.0},
        {"joint_scale_video": 2.0},
        {"cfg_scale_audio": 3.0},
        {"cfg_scale_video": 3.0},
    ],
    ids=str,
)
def test_every_setting_changes_the_clip(change, clip, tiny_pair):
    (other,) = generate(**({"prompt": PROMPT} | change), weights=tiny_pair)
    assert not same(clip, other, rtol=1e-2)


def test_rescaled_guidance_changes_the_clip(tiny_pair):
    plain, rescaled = (
        generate(PROMPT, cfg_scale=30, cfg_rescale=phi, weights=tiny_pair)[0] for phi in (0, 0.7)
    )
    assert not same(plain, rescaled, rtol=1e-3)


def resolved(system, prompt=PROMPT, **options):
    return resolve(GenerateConfig(prompt=prompt, **options), system)


def prepared_of(weights, **options):
    pair = MiniatureSystem(weights)
    return prepare(resolved(pair, **options), pair)


def scales(config):
    return config.joint_scale_audio, config.joint_scale_video


def test_the_default_scheduler_depends_on_the_steps(tiny_pair):
    pair = MiniatureSystem(tiny_pair)
    found = {steps: resolved(pair, steps=steps).scheduler for steps in (None, 1, 2, 8)}
    assert found == {None: "ddim", 1: "ddpm", 2: "ddim", 8: "ddim"}
    assert resolved(pair, steps=1, scheduler="euler").scheduler == "euler"


def test_whole_numbers_are_scales_too(tiny_pair):
    wish = resolved(MiniatureSystem(tiny_pair), joint_scale_audio=2, joint_scale_video=0)
    assert scales(wish) == (2.0, 0.0)
    assert isinstance(wish.joint_scale_audio, float)


def test_what_a_request_leaves_open_is_the_best_of_the_pair_for_its_task(tiny_pair):
    pair, file = MiniatureSystem(tiny_pair), Path("file")
    own = pair.sampling()
    usual = resolved(pair)
    settings = sampler_config(usual, pair)
    same = {name: getattr(settings, name) for name in ("solvers", "classifier_free")}
    assert settings == replace(own.settings, **same)
    assert (usual.steps, usual.scheduler, usual.joint_every) == (own.steps, own.scheduler, 1)
    assert scales(resolved(pair, video=file)) == (own.video_to_audio, None)
    assert scales(resolved(pair, audio=file)) == (None, own.audio_to_video)
    wished = resolved(pair, video=file, joint_scale=3.0, steps=5, scheduler="euler")
    assert scales(wished) == (3.0, None)
    assert (wished.steps, wished.scheduler) == (5, "euler")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"no_joint_guidance": True, "samples": 2},
        {"prompt": None, "video": "v.mp4", "start": 0.5, "joint_scale": 2},
        {"prompt": None, "no_prompt": True},
        {"negative_prompt": "lamp", "batch_cfg": True, "cfg_scale_video": 1, "joint_every": 3},
        {"joint_min_logsnr": -3, "seconds": "8/5", "size": "64x64", "fps": 29.97},
    ],
    ids=str,
)
def test_a_resolved_request_is_its_own_record_and_resolved_already(options, tiny_pair):
    pair = MiniatureSystem(tiny_pair)
    once = resolved(pair, **options)
    assert resolve(once, pair) == once
    record = json.loads(json.dumps(once.to_record()))
    assert GenerateConfig(**record) == once.updated({k: record[k] for k in record if k == "video"})


def test_sound_is_made_for_the_picture_as_it_was_given(film, tiny_pair):
    (made,) = generate(video=film, weights=tiny_pair)
    np.testing.assert_array_equal(made.video.frames, read_video(film).frames)
    assert made.audio.seconds == Fraction(8, 5)
    (bases,) = generate(video=film, joint_scale=0, weights=tiny_pair)
    assert not is_close(made.audio.waveform, bases.audio.waveform, 1e-2, scale=1)


def test_picture_is_made_for_the_sound_as_it_was_given(film, tiny_pair):
    (made,) = generate(audio=film, weights=tiny_pair)
    np.testing.assert_array_equal(made.audio.waveform, read_audio(film).waveform[:25_600])
    (bases,) = generate(audio=str(film), joint_scale=0, weights=tiny_pair)
    assert not is_close(made.video.frames, bases.video.frames, 1e-2, scale=1)


def test_a_given_side_that_the_models_cannot_know_is_named_and_one_they_know_is_not(
    film, tiny_pair
):
    with pytest.warns(UserWarning, match=r"film\.mp4: the models cannot know such pictures"):
        generate(video=film, weights=tiny_pair, steps=1)
    pair = MiniatureSystem()
    for side in ("video", "audio"):
        assert prepare(resolved(pair, **{side: film}), pair).remarks() == []
    assert prepare(resolved(pair, prompt=PROMPT), pair).remarks() == []


def test_prompt_counts_beside_a_given_file_and_may_be_left_out(film, tiny_pair):
    (without,) = generate(video=film, weights=tiny_pair)
    (with_prompt,) = generate(PROMPT, video=film, weights=tiny_pair)
    assert not same(without, with_prompt, rtol=1e-2)


def test_longer_files_are_cut_and_shorter_ones_filled(tmp_path):
    for frames, fps in ((40, Fraction(20)), (10, Fraction(20))):
        write_video(tmp_path / "v.mp4", grey(frames, fps))
        seen, shown = read_conditioning_video(tmp_path / "v.mp4", FORM)
        assert (seen.frames.shape, seen.fps) == ((16, 64, 64, 3), 10)
        assert (shown.frames.shape, shown.fps) == ((32, 48, 80, 3), 20)
    np.testing.assert_array_equal(shown.frames[9], shown.frames[31])
    for seconds in (3.0, 0.5):
        write_audio(tmp_path / "a.wav", tone(seconds, 44_100))
        heard, played = read_conditioning_audio(tmp_path / "a.wav", FORM)
        assert (len(heard.waveform), heard.sample_rate) == (25_600, 16_000)
        assert (len(played.waveform), played.sample_rate) == (70_560, 44_100)
    assert np.abs(played.waveform[22_050:]).max() == 0
    assert np.abs(heard.waveform[8_100:]).max() < 1e-2


def test_slow_pictures_end_with_the_sound(tmp_path):
    write_video(tmp_path / "v.mp4", grey(2, Fraction(1)))
    _, shown = read_conditioning_video(tmp_path / "v.mp4", FORM)
    assert shown.seconds == Fraction(8, 5)
    assert shown.frames[0].mean() < 0.3
    assert shown.frames[-1].mean() > 0.7


def test_large_and_fast_pictures_are_scaled_down_and_thinned_out(tmp_path):
    write_video(tmp_path / "v.mp4", grey(192, Fraction(120), height=48, width=80))
    _, shown = read_conditioning_video(tmp_path / "v.mp4", FORM, 24 * 40)
    assert shown.frames.shape == (96, 24, 40, 3)
    assert (shown.fps, shown.seconds) == (60, Fraction(8, 5))


def test_sound_of_a_rate_that_no_clip_can_have_is_resampled(tmp_path):
    write_audio(tmp_path / "a.wav", tone(1.6, 192_000))
    heard, played = read_conditioning_audio(tmp_path / "a.wav", FORM)
    assert (heard.sample_rate, played.sample_rate) == (16_000, 48_000)
    write_clip(tmp_path / "c.mp4", AudioVideo(played, grey(16, Fraction(10))))


def test_unknown_words_are_named_and_ignored(clip, tiny_pair):
    with pytest.warns(UserWarning, match="'baal' is read as 'ball'|'quickly'"):
        (odd,) = generate("a red ball bouncing baal quickly", weights=tiny_pair)
    assert same(clip, odd)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pair = MiniatureSystem(tiny_pair)
        assert check(resolved(pair), pair) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, "the prompt is empty: describe"),
        ({"prompt": "  "}, "the prompt is empty: describe"),
        ({"prompt": "\udcff ball"}, "no text"),
        ({"prompt": PROMPT, "seed": -1}, "seed -1: give 0 to"),
        ({"prompt": PROMPT, "samples": 0}, "samples 0: give 1 to 256"),
        ({"prompt": PROMPT, "samples": 10**6}, "samples 1000000: give 1 to 256"),
        ({"prompt": PROMPT, "steps": 0}, "steps 0: give 1 to 1000"),
        ({"prompt": PROMPT, "steps": 10**9}, "steps 1000000000: give 1 to 1000"),
        ({"prompt": PROMPT, "steps": "many"}, "steps 'many' is no whole number"),
        (
            {"prompt": PROMPT, "joint_scale_audio": float("nan")},
            "joint_scale_audio nan: give a fin",
        ),
        ({"prompt": PROMPT, "cfg_scale": float("inf")}, "cfg_scale inf: give a finite number"),
        ({"prompt": PROMPT, "guidance_scal": 2}, "unknown option 'guidance_scal'"),
        ({"prompt": PROMPT, "step": 2}, "unknown option 'step'; did you mean steps?"),
        ({"prompt": PROMPT, "preset": "huge"}, "unknown preset 'huge': choose one of embedded"),
        ({"prompt": PROMPT, "cfg_scale": 1, "batch_cfg": True}, "no effect at CFG scale 1"),
        ({"prompt": PROMPT, "cfg_rescale": 1.5}, "cfg_rescale 1.5: give 0 to 1"),
        ({"prompt": PROMPT, "start": 1}, "a start has no effect"),
        ({"prompt": PROMPT, "video": "v", "audio_track": 2}, "no sound is given"),
        ({"video": "missing.mp4"}, "cannot read missing.mp4: no such file"),
        ({"video": Path("v"), "audio": Path("a")}, "a video and a sound are given"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_request_out_of_range_is_refused(wrong, said, tiny_pair):
    with pytest.raises(UserError, match=re.escape(said)):
        generate(**wrong, weights=tiny_pair)


def test_prompt_that_means_nothing_is_refused(tiny_pair):
    with pytest.raises(UserError, match="no word of 'xyzzy' is known"):
        generate("xyzzy", weights=tiny_pair)


def test_unknown_scheduler_is_refused(tiny_pair):
    with pytest.raises(UserError, match="unknown scheduler 'heun': choose one of ddim"):
        generate(PROMPT, scheduler="heun", weights=tiny_pair)


def test_python_call_takes_the_options_of_the_command_and_explains_them():
    parameters = inspect.signature(generate).parameters
    assert next(iter(parameters)) == "prompt"
    assert parameters.keys() == {*GenerateConfig.model_fields, "callback_on_step_end"}
    for name, field in GenerateConfig.model_fields.items():
        assert f"    {name}: {' '.join(str(field.description).split())}" in (generate.__doc__ or "")


def test_a_callback_sees_every_step_and_may_replace_the_latents(clip, tiny_pair):
    seen = []

    def watch(run, step, timestep, kwargs):
        seen.append((step, timestep.audio, timestep.video))
        return kwargs

    def mute(run, step, timestep, kwargs):
        return {"latents": kwargs["latents"].map(torch.zeros_like)}

    options = {"weights": tiny_pair, "steps": 2}
    [plain] = generate(PROMPT, **options)
    [watched] = generate(PROMPT, callback_on_step_end=watch, **options)
    [replaced] = generate(PROMPT, callback_on_step_end=mute, **options)
    assert same(watched, plain)
    assert not same(replaced, plain, rtol=1e-3)
    assert [step for step, *_ in seen] == [0, 1]
    assert seen[0][1:] > seen[1][1:]


def test_a_callback_ends_the_run_by_an_exception(tiny_pair):
    steps = []

    def stop(run, step, timestep, kwargs):
        steps.append(step)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(PROMPT, callback_on_step_end=stop, weights=tiny_pair, steps=3)
    assert steps == [0]


def test_start_and_track_of_a_given_sound_are_options_of_python_too(tmp_path, tiny_pair):
    ramp = np.arange(4 * 16_000, dtype=np.float32) / 64_000
    write_audio(tmp_path / "a.wav", Audio(ramp, 16_000))
    (made,) = generate(audio=tmp_path / "a.wav", start=1.5, audio_track=1, weights=tiny_pair)
    np.testing.assert_allclose(made.audio.waveform, ramp[24_000:49_600], atol=2**-15)


@pytest.mark.parametrize("guided", [True, False])
def test_of_several_candidates_the_one_with_the_largest_logit_is_kept(tiny_pair, guided):
    options = {"steps": 2, "samples": 2, "candidates": 3, "no_joint_guidance": not guided}
    prepared = prepared_of(tiny_pair, **options)
    z_0 = deque(prepared.run(), maxlen=1).pop()
    selection = prepared.select(z_0)
    logits = prepared.generation.logits([PROMPT] * 6, z_0)
    assert selection.logits == logits.unflatten(0, (2, 3)).tolist()
    seeds = prepared.config.seeds
    assert len(set(seeds)) == 6
    assert seeds[::3] == prepared_of(tiny_pair, samples=2).config.seeds
    clips = selection.clips()
    assert len(clips) == 2
    for sample, best in enumerate(logits.unflatten(0, (2, 3)).argmax(1).tolist()):
        # a candidate is the clip that a run with its seed alone makes
        row = 3 * sample + best
        single = prepared_of(tiny_pair, steps=2, seed=seeds[row], no_joint_guidance=not guided)
        alone = deque(single.run(), maxlen=1).pop()
        assert_close(selection.z_0.audio[sample], alone.audio[0], rtol=BATCH)
        others = [z_0.audio[other] for other in range(6) if other != row]
        assert not any(is_close(other, alone.audio[0], rtol=BATCH) for other in others)
        frames = single.select(alone).clips()[0].video.frames
        assert_close(clips[sample].video.frames, frames, rtol=BATCH)


def test_candidates_keep_the_given_side(tiny_pair, tmp_path):
    clip = example(0, 0).clip
    write_clip(tmp_path / "clip.mp4", clip)
    options = {"weights": tiny_pair, "steps": 2, "candidates": 2, "samples": 2}
    for side in ("video", "audio"):
        clips = generate(**{side: tmp_path / "clip.mp4"}, **options)
        assert len(clips) == 2
    with pytest.raises(UserError, match="at most 256 in all"):
        generate(PROMPT, weights=tiny_pair, samples=64, candidates=5)


def test_numbers_that_ran_away_are_refused(tiny_pair):
    prepared = prepared_of(tiny_pair)
    shapes = prepared.generation.model.latent_shapes(prepared.generation.seconds)
    lost = shapes.map(lambda shape: torch.full((1, *shape), float("nan")))
    with pytest.raises(UserError, match="ask for more steps or smaller scales"):
        prepared.select(lost).clips()


def test_folder_without_a_pair_is_refused(tmp_path, tiny_pair):
    with pytest.raises(UserError, match="is not there"):
        folder_of(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match="no weights of such a pair"):
        folder_of(tmp_path)
    shutil.copy(tiny_pair / "config.json", tmp_path)
    with pytest.raises(UserError, match="is not there"):
        generate(PROMPT, weights=tmp_path)


def test_damaged_weights_are_refused_by_the_checksum(tmp_path, tiny_pair):
    broken = shutil.copytree(tiny_pair, tmp_path / "pair") / "video_denoiser.safetensors"
    content = bytearray(broken.read_bytes())
    content[-1] ^= 1
    broken.write_bytes(content)
    with pytest.raises(UserError, match=r"video_denoiser\.safetensors is damaged"):
        generate(PROMPT, weights=tmp_path / "pair")


def test_loud_sound_is_brought_down(tiny_pair):
    prepared = prepared_of(tiny_pair, steps=2)
    z = deque(prepared.run(), maxlen=1).pop()
    (clip,) = prepared.select(replace(z, audio=z.audio * 40)).clips()
    assert_close(np.abs(clip.audio.waveform).max(), CEILING)


@pytest.mark.parametrize("side", ["audio", "video"])
def test_decoder_that_leaves_the_range_of_numbers_ends_the_run_in_one_line(side, tiny_pair):
    prepared = prepared_of(tiny_pair, steps=2)
    z = deque(prepared.run(), maxlen=1).pop()
    wild = replace(z, **{side: torch.full_like(getattr(z, side), 3e38)})
    assert wild.audio.isfinite().all()
    assert wild.video.isfinite().all()
    with pytest.raises(UserError, match=r"not finite numbers: ask for --dtype float32") as caught:
        prepared.select(wild).clips()
    assert "\n" not in str(caught.value)


def test_an_option_that_is_left_open_may_be_said_to_be():
    fields = GenerateConfig.model_fields
    left_open = {name: None for name, field in fields.items() if field.default is None}
    assert GenerateConfig(**left_open) == GenerateConfig()
    assert SystemConfig(**SystemConfig(seconds=1.6).build_options()).seconds == Fraction(8, 5)
