"""Clips longer than the models know, in overlapping windows."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from closeness import assert_close, is_close

import mmdisco
from mmdisco.core.av import AV
from mmdisco.core.denoiser import Conditioning, JointDenoiser
from mmdisco.core.noise import NoiseLevel, cosine
from mmdisco.errors import UserError
from mmdisco.generation.config import GenerateConfig
from mmdisco.generation.presets.registry import system_of
from mmdisco.generation.windows import (
    WindowedDenoiser,
    WindowedDiscriminator,
    overlapping_windows,
)
from mmdisco.media.sounding_objects.dataset import example
from mmdisco.media.write import write_video

COND = AV(Conditioning.none(1), Conditioning.none(1))
LEVEL = cosine().level(torch.tensor([600.0], dtype=torch.float64))
LEVELS = AV(LEVEL, LEVEL)


class Constant(JointDenoiser):
    def __init__(self, value):
        self.value = value

    def predict_noise(self, z_t, level, cond):
        return z_t.map(lambda x: torch.full_like(x, self.value))


class Pointwise(JointDenoiser):
    def predict_noise(self, z_t, level, cond):
        return z_t.map(torch.tanh)


def latents(frames, generator):
    return AV(
        torch.randn(1, 2, 2 * frames, 3, generator=generator),
        torch.randn(1, 2, frames, 3, 3, generator=generator),
    )


@pytest.mark.parametrize("frames", [16, 17, 24, 25, 100])
def test_windows_cover_the_clip_on_one_clock(frames):
    windows = overlapping_windows(AV(2 * frames, frames), AV(32, 16))
    assert {one.video.stop - one.video.start for one in windows} == {16}
    for one in windows:
        assert one.audio == slice(2 * one.video.start, 2 * one.video.stop)
    assert (windows[0].video.start, windows[-1].video.stop) == (0, frames)
    gaps = np.diff([one.video.start for one in windows])
    assert all(0 < gap <= 8 for gap in gaps)


@pytest.mark.parametrize(("audio", "video"), [(30, 15), (41, 20), (45, 22)])
def test_latents_without_such_windows_are_refused(audio, video):
    with pytest.raises(UserError, match="cannot be cut into windows of 32 and 16"):
        overlapping_windows(AV(audio, video), AV(32, 16))


def test_a_model_that_sees_one_step_at_a_time_sees_the_same(generator):
    z_t, windows = latents(23, generator), overlapping_windows(AV(46, 23), AV(32, 16))
    whole = Pointwise().predict_noise(z_t, LEVELS, COND)
    cut = WindowedDenoiser([Pointwise()] * len(windows), windows)
    got = cut.predict_noise(z_t, LEVELS, COND)
    assert_close(got.audio, whole.audio, rtol=1e-5)
    assert_close(got.video, whole.video, rtol=1e-5)


def test_overlapping_predictions_go_over_into_one_another(generator):
    z_t, windows = latents(24, generator), overlapping_windows(AV(48, 24), AV(32, 16))
    cut = WindowedDenoiser([Constant(0.0), Constant(1.0)], windows)
    eps = cut.predict_noise(z_t, LEVELS, COND)
    sides = (eps.audio[0, 0, :, 0], slice(16, 32)), (eps.video[0, 0, :, 0, 0], slice(8, 16))
    for side, overlap in sides:
        assert (side[: overlap.start] == 0).all()
        assert (side[overlap.stop :] == 1).all()
        assert (side[overlap].diff() > 0).all()


def test_at_high_noise_windows_share_one_mean_picture(generator):
    z_t = latents(32, generator)
    windows = [AV(slice(0, 32), slice(0, 16)), AV(slice(32, 64), slice(16, 32))]
    free = WindowedDenoiser([Constant(0.1), Constant(0.4)], windows)
    shared = WindowedDenoiser(free.denoisers, windows, one_scene_below=float(LEVEL.log_snr) + 1)
    before, after = (one.predict_noise(z_t, LEVELS, COND) for one in (free, shared))
    assert_close(after.audio, before.audio, rtol=0)
    x_0 = LEVEL.predict_x0(z_t.video, after.video)
    first, second = (x_0[:, :, one.video].mean(2) for one in windows)
    assert_close(first, second, rtol=1e-4)
    x_0 = LEVEL.predict_x0(z_t.video, before.video)
    first, second = (x_0[:, :, one.video].mean(2) for one in windows)
    assert not is_close(first, second, rtol=1e-2)
    above = WindowedDenoiser(free.denoisers, windows, one_scene_below=float(LEVEL.log_snr) - 1)
    assert_close(above.predict_noise(z_t, LEVELS, COND).video, before.video, rtol=0)


def test_a_long_clip_is_ranked_by_the_mean_logit_of_its_windows(tiny_pair, generator):
    system = system_of(GenerateConfig(weights=tiny_pair, seconds=Fraction(2)))
    shapes = system.model().latent_shapes(2.0)
    z_0 = shapes.map(lambda shape: torch.randn(1, *shape, generator=generator))
    text = system.model().encode_prompts(["a red ball"]).map(lambda one: one.pooled)
    clean = AV(NoiseLevel.clean(1), NoiseLevel.clean(1))
    windows = overlapping_windows(AV(40, 20), AV(32, 16))
    network = system.discriminator()
    own = [
        network(AV(z_0.audio[:, :, one.audio], z_0.video[:, :, one.video]), clean, text)
        for one in windows
    ]
    got = WindowedDiscriminator(network, windows)(z_0, clean, text)
    assert_close(got, torch.stack(own).mean(0), rtol=1e-5)
    assert not is_close(own[0], own[-1], rtol=1e-4)


def test_a_long_clip_has_both_sides_of_one_length(tiny_pair):
    (clip,) = mmdisco.generate(
        "a red ball bouncing", weights=tiny_pair, seconds=2.4, steps=2, candidates=2, joint_every=2
    )
    assert clip.video.frames.shape == (24, 64, 64, 3)
    assert len(clip.audio.waveform) == 38_400
    again = mmdisco.generate("a red ball bouncing", weights=tiny_pair, frames=24, steps=2)
    assert again[0].video.seconds == clip.video.seconds


def test_joint_guidance_reaches_every_window(tiny_pair):
    request = {"weights": tiny_pair, "seconds": 3.2, "steps": 2}
    guided, free = (
        mmdisco.generate("a red ball bouncing", **request, no_joint_guidance=off)[0]
        for off in (False, True)
    )
    changed = np.abs(guided.video.frames - free.video.frames).max((1, 2, 3))
    assert (changed > 0).all()


def test_sound_for_a_film_longer_than_the_models_know(tiny_pair, tmp_path):
    clip = example(0, 0).clip
    film = type(clip.video)(np.concatenate([clip.video.frames] * 2), clip.video.fps)
    write_video(tmp_path / "film.mp4", film)
    (made,) = mmdisco.generate(
        "a ball", weights=tiny_pair, video=tmp_path / "film.mp4", seconds=3.2, steps=2
    )
    assert len(made.audio.waveform) == 51_200
    assert len(made.video.frames) == 32


@pytest.mark.parametrize("length", [{"seconds": 1.5}, {"seconds": 2.05}, {"frames": 15}])
def test_lengths_that_cannot_be_made_are_refused(length, tiny_pair):
    with pytest.raises(UserError, match=r"16 frames, 1\.6 s, and longer ones by whole frames"):
        mmdisco.generate("a red ball bouncing", weights=tiny_pair, **length)
