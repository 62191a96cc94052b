"""What VideoCrafter2 promises as a base model."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from closeness import assert_close
from test_videocrafter2_tiny import PICTURE, built, published

from mmdisco.adapters.device import Runtime
from mmdisco.adapters.videocrafter2.codec import VideoSpec
from mmdisco.adapters.videocrafter2.model import VideoCrafter2
from mmdisco.adapters.videocrafter2.unet import clean_scales
from mmdisco.core.av import AV
from mmdisco.core.coupling import SameTimestep
from mmdisco.core.denoiser import Conditioning, Denoiser, IndependentDenoisers
from mmdisco.core.noise import NoiseLevel, broadcast_like, scaled_linear
from mmdisco.core.rng import NoiseSource
from mmdisco.core.sampler import Sampler
from mmdisco.core.schedulers import solver
from mmdisco.errors import UserError
from mmdisco.media.clip import Video

PROMPTS = ["playing bongo", ""]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return published(tmp_path_factory.mktemp("videocrafter2"))


@pytest.fixture(scope="module")
def model(folder):
    return built(folder)


def noise(count=2, frames=3):
    return torch.randn(count, 4, frames, 8, 12, generator=torch.Generator().manual_seed(1))


def levels(model, *times):
    return model.schedule.level(torch.tensor(times, dtype=torch.float64))


def clip(frames=2, height=16, width=24, fps=8, seed=0):
    pixels = np.random.default_rng(seed).random((frames, height, width, 3), dtype=np.float32)
    return Video(pixels, Fraction(fps))


def close(one, other, tolerance=1e-4):
    assert_close(one, other, rtol=tolerance)


def test_latents_have_time_on_axis_2(model):
    assert model.latent_shape(1.0) == torch.Size([4, 8, 8, 12])
    assert model.encode([clip(frames=8)]).shape == (1, 4, 8, 8, 12)


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_any_number_of_frames_is_taken(model, frames):
    x_t = noise(1, frames)
    eps = model.predict_noise(x_t, levels(model, 500), model.encode_prompts(["playing bongo"]))
    assert eps.shape == x_t.shape
    assert eps.dtype == torch.float32
    assert not eps.requires_grad
    assert eps.isfinite().all()
    assert model.decode(x_t)[0].frames.shape == (frames, 16, 24, 3)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (32, 8), (4, 8)])
def test_any_size_of_whole_latents_is_taken(model, height, width):
    model = VideoCrafter2(model.parts, VideoSpec(height, width))
    x_t = torch.randn(1, *model.latent_shape(0.125))
    cond = model.encode_prompts(["playing bongo"])
    assert model.predict_noise(x_t, levels(model, 9), cond).shape == x_t.shape
    assert model.decode(x_t)[0].frames.shape == (1, height, width, 3)


@pytest.mark.parametrize(("height", "width"), [(16, 18), (0, 16), (-4, 16)])
def test_other_sizes_are_refused(model, height, width):
    with pytest.raises(UserError, match=f"{width}×{height}: VideoCrafter2 takes multiples of 4"):
        VideoCrafter2(model.parts, VideoSpec(height, width))


def test_a_prediction_depends_on_no_batch_mate(model):
    x_t, at = noise(), levels(model, 900, 30)
    together = model.predict_noise(x_t, at, model.encode_prompts(PROMPTS))
    for k, prompt in enumerate(PROMPTS):
        own = NoiseLevel(at.t[k : k + 1], at.alpha[k : k + 1], at.sigma[k : k + 1])
        alone = model.predict_noise(x_t[k : k + 1], own, model.encode_prompts([prompt]))
        close(together[k : k + 1], alone)


def test_prompt_level_and_rate_change_the_noise(model):
    x_t, cond = noise(1), model.encode_prompts(["playing bongo"])
    usual = model.predict_noise(x_t, levels(model, 500), cond)
    faster = VideoCrafter2(model.parts, replace(PICTURE, fps=Fraction(24)))
    others = [
        model.predict_noise(x_t, levels(model, 500), model.encode_prompts([""])),
        model.predict_noise(x_t, levels(model, 600), cond),
        faster.predict_noise(x_t, levels(model, 500), cond),
    ]
    assert all((usual - other).abs().max() > 1e-5 for other in others)


def test_a_prediction_draws_no_random_number_and_repeats(model):
    for network in (model.parts.unet, model.parts.text_encoder, model.parts.vae):
        assert not network.training
        assert not any(one.requires_grad for one in network.parameters())
    x_t, cond = noise(), model.encode_prompts(PROMPTS)
    before = torch.random.get_rng_state()
    one, other = (model.predict_noise(x_t, levels(model, 5, 6), cond) for _ in range(2))
    assert torch.equal(one, other)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_networks_in_half_precision_still_speak_float32(folder):
    model = built(folder, dtype=torch.bfloat16)
    cond, x_t = model.encode_prompts(PROMPTS), noise()
    assert model.parts.unet.dtype == torch.bfloat16
    assert cond.embeds[0].dtype == torch.float32
    assert model.predict_noise(x_t, levels(model, 5, 6), cond).dtype == torch.float32
    assert model.decode(x_t)[0].frames.dtype == np.float32
    assert model.encode([clip()]).dtype == torch.float32


def test_pooled_text_is_the_mean_of_all_tokens(model):
    cond = model.encode_prompts(PROMPTS)
    assert cond.embeds[0].shape == (2, 77, 12)
    close(cond.pooled, cond.embeds[0].mean(1))
    close(model.encode_prompts(PROMPTS[1:]).pooled, cond.pooled[1:])


def test_a_long_prompt_is_cut_with_a_warning(model):
    with pytest.warns(UserWarning, match="reads the first 77"):
        assert model.encode_prompts(["a " * 100]).embeds[0].shape == (1, 77, 12)


def test_clean_latents_are_scaled_as_in_the_training(model):
    schedule = model.schedule
    total = schedule.alphas.square() + schedule.sigmas.square()
    scales = clean_scales()
    assert scales[0] == 1
    assert (scales[399:] == 0.7).all()
    assert (total[1:] < 1).all()
    assert (schedule.sigmas / schedule.alphas).diff().gt(0).all()
    assert model.encode_prompts([""]).pooled.dtype == torch.float32


class OnePoint(Denoiser):
    """The exact ε of data that are one point."""

    def __init__(self, schedule, point):
        self._schedule = schedule
        self.point = point

    @property
    def schedule(self):
        return self._schedule

    def predict_noise(self, x_t, level, cond):
        return (x_t - broadcast_like(level.alpha, x_t) * self.point) / broadcast_like(
            level.sigma, x_t
        )


@pytest.mark.parametrize("name", ["ddim", "dpm++2m"])
def test_samplers_take_the_scale_of_the_clean_latent_into_account(model, name):
    point = torch.randn(1, 4, 2, 8, 12, generator=torch.Generator().manual_seed(3))
    exact, none = OnePoint(model.schedule, point), Conditioning.none(1)
    pair = IndependentDenoisers(AV(exact, exact))
    sampler = Sampler(SameTimestep(pair.schedules), AV(solver(name), solver(name)), steps=5)
    source = NoiseSource.from_seeds([0])
    z_T = sampler.initial(source, AV(point.shape, point.shape))
    *_, last = sampler.run(pair, z_T, AV(none, none), source)
    close(last.video, point)


def test_other_noise_levels_can_be_given(model):
    other = VideoCrafter2(model.parts, PICTURE, schedule=scaled_linear())
    assert torch.equal(other.schedule.alphas, scaled_linear().alphas)
    x_t, cond = noise(1), model.encode_prompts([""])
    one = other.predict_noise(x_t, levels(other, 500), cond)
    assert torch.equal(one, model.predict_noise(x_t, levels(model, 500), cond))


def test_clips_have_the_rate_and_range_of_all_clips(model):
    for video in model.decode(5 * noise()):
        assert video.fps == 8
        assert video.frames.dtype == np.float32
        assert 0 <= video.frames.min() <= video.frames.max() <= 1


def test_frames_depend_on_no_other_frame(model):
    latents = model.encode([clip(frames=3)])
    first = Video(clip(frames=3).frames[:1], Fraction(8))
    close(model.encode([first]), latents[:, :, :1])
    shown = model.decode(latents)[0].frames
    assert_close(model.decode(latents[:, :, 2:])[0].frames, shown[2:])


@pytest.mark.parametrize(
    ("videos", "message"),
    [
        ([clip(fps=10)], "at 10 fps: VideoCrafter2 is set to 24×16 at 8"),
        ([clip(width=16)], "video of 16×16"),
        ([clip(), clip(frames=3)], "2 and 3 frames"),
    ],
)
def test_clips_that_do_not_fit_are_refused(model, videos, message):
    with pytest.raises(UserError, match=message):
        model.encode(videos)


@pytest.mark.parametrize("seconds", [1.7, 0.0, -1.0, float("nan"), float("inf")])
def test_seconds_that_are_no_whole_frames_are_refused(model, seconds):
    with pytest.raises(UserError, match="VideoCrafter2 makes whole frames"):
        model.latent_shape(seconds)


def test_networks_can_wait_in_main_memory_and_frames_be_tiled(model, folder):
    x_t, cond = noise(1), model.encode_prompts(["playing bongo"])
    saving = built(folder, runtime=Runtime(offload=True, vae_tiling=True))
    close(saving.encode_prompts(["playing bongo"]).embeds[0], cond.embeds[0])
    expected = model.predict_noise(x_t, levels(model, 500), cond)
    close(saving.predict_noise(x_t, levels(model, 500), cond), expected)
    close(saving.decode(x_t)[0].frames, model.decode(x_t)[0].frames)


def test_a_rate_of_no_frames_is_refused(model):
    with pytest.raises(UserError, match="above 0"):
        VideoCrafter2(model.parts, replace(PICTURE, fps=Fraction(0)))


def test_inputs_are_left_as_they_were(model):
    x_t, tokens = noise(1), model.encode_prompts([""]).embeds[0]
    kept = x_t.clone(), tokens.clone()
    model.predict_noise(x_t, levels(model, 500), Conditioning(tokens.mean(1), (tokens,)))
    model.decode(x_t)
    assert torch.equal(x_t, kept[0])
    assert torch.equal(tokens, kept[1])
