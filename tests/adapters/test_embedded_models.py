from fractions import Fraction

import numpy as np
import pytest
import torch
from closeness import assert_close, is_close
from reconstruction import waves

from mmdisco.adapters.miniature import FPS, SAMPLE_RATE, SECONDS
from mmdisco.adapters.miniature.denoiser import LAYOUTS, ConvTransformer, DenoiserConfig
from mmdisco.adapters.miniature.model import video_schedule
from mmdisco.core.av import AV
from mmdisco.core.noise import NoiseLevel
from mmdisco.errors import UserError
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.media.clip import Audio, Video
from mmdisco.media.reconstruction import (
    PictureReconstruction,
    SoundReconstruction,
    picture_remark,
    sound_remark,
)
from mmdisco.media.sounding_objects.dataset import example


@pytest.fixture(scope="module")
def model(tiny_pair):
    return MiniatureSystem(tiny_pair).model()


@pytest.fixture(scope="module")
def clips():
    return [example(0, index).clip for index in range(2)]


def test_sound_goes_through_latents_at_its_rate_and_length(model, clips):
    sounds = [clip.audio for clip in clips]
    latents = model.encode_audio(sounds)
    assert latents.shape == (2, *model.latent_shapes(SECONDS).audio) == (2, 4, 32, 16)
    for sound, again in zip(sounds, model.decode_audio(latents), strict=True):
        assert again.sample_rate == sound.sample_rate
        assert again.waveform.shape == sound.waveform.shape
        assert np.abs(again.waveform).max() <= 1


def test_video_goes_through_latents_at_its_rate_size_and_length(model, clips):
    videos = [clip.video for clip in clips]
    latents = model.encode_video(videos)
    assert latents.shape == (2, *model.latent_shapes(SECONDS).video) == (2, 4, 16, 8, 8)
    for video, again in zip(videos, model.decode_video(latents), strict=True):
        assert again.fps == video.fps
        assert again.frames.shape == video.frames.shape
        assert 0 <= again.frames.min() <= again.frames.max() <= 1


def test_clip_is_encoded_alike_alone_and_in_a_batch(model, clips):
    together = model.encode_video([clip.video for clip in clips])
    alone = model.encode_video([clips[1].video])
    assert_close(together[1:], alone, rtol=1e-4)


def test_frames_of_a_video_are_encoded_each_by_itself(model, clips):
    frames = clips[0].video.frames
    turned = Video(np.ascontiguousarray(frames[::-1]), FPS)
    forwards, backwards = model.encode_video([clips[0].video, turned])
    assert_close(forwards.flip(1), backwards, rtol=1e-4)


@pytest.mark.parametrize(
    "sound",
    [
        Audio(np.zeros(25_600, np.float32), 22_050),
        Audio(np.zeros(16_000, np.float32), SAMPLE_RATE),
        Audio(np.zeros(25_601, np.float32), SAMPLE_RATE),
    ],
    ids=["rate", "length", "part of a frame"],
)
def test_sound_of_another_rate_or_length_is_refused(sound, model):
    with pytest.raises(UserError, match="this pair takes 25600 at 16000"):
        model.encode_audio([sound])


@pytest.mark.parametrize(
    ("shape", "fps"),
    [((16, 64, 64, 3), 25), ((15, 64, 64, 3), 10), ((16, 64, 96, 3), 10)],
    ids=["rate", "length", "size"],
)
def test_video_of_another_rate_length_or_size_is_refused(shape, fps, model):
    with pytest.raises(UserError, match="this pair takes 16 of 64×64 at 10"):
        model.encode_video([Video(np.zeros(shape, np.float32), Fraction(fps))])


@pytest.mark.parametrize("seconds", [1.5, 2.05])
def test_lengths_that_are_no_whole_frames_or_too_short_are_refused(seconds, model):
    with pytest.raises(UserError, match=f"{seconds} seconds: this pair makes clips of 1.6"):
        model.latent_shapes(seconds)


def test_longer_clips_have_longer_latents(model):
    assert model.latent_shapes(2.0) == AV(torch.Size([4, 40, 16]), torch.Size([4, 20, 8, 8]))


def test_both_models_read_the_prompt_and_words_count_in_any_order(model):
    cond = model.encode_prompts(["a red ball bouncing", "bouncing RED ball, a!", ""])
    for side in (cond.audio, cond.video):
        assert side.pooled.shape == (3, 64)
        assert_close(side.pooled[0], side.pooled[1])
        assert not is_close(side.pooled[0], side.pooled[2], rtol=1e-3)


@pytest.mark.parametrize("side", ["audio", "video"])
def test_noise_prediction_listens_to_latent_level_and_caption(side, model, generator):
    base = getattr(model, side)
    x_t = torch.randn(1, *base.latent_shape(SECONDS), generator=generator)
    times = torch.tensor([400.0, 700.0], dtype=torch.float64)
    early, late = (base.schedule.level(t[None]) for t in times)
    red, blue = (base.encode_prompts([prompt]) for prompt in ("a red ball", "a blue bell"))
    eps = base.predict_noise(x_t, early, red)
    assert eps.shape == x_t.shape
    for other in ((-x_t, early, red), (x_t, late, red), (x_t, early, blue)):
        assert not is_close(base.predict_noise(*other), eps, rtol=1e-3)


@pytest.mark.parametrize("shape", [(4, 6, 4), (4, 5, 4, 6)], ids=["sound", "video"])
def test_every_step_of_time_sees_every_other(shape, generator):
    config = DenoiserConfig(shape, channels=8, width=16, layers=1, heads=2)
    network = ConvTransformer(config)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2, generator=generator)
    x_t = torch.randn(1, *shape, generator=generator).requires_grad_()
    text = torch.randn(1, 64, generator=generator)
    v = network(x_t, video_schedule().level(torch.full((1,), 100.0, dtype=torch.float64)), text)
    assert v.shape == x_t.shape
    v[:, :, 0].sum().backward()
    assert (x_t.grad.abs().transpose(1, 2).flatten(2).amax((0, 2)) > 0).all()


@pytest.mark.parametrize("shape", [(4, 6, 4), (4, 5, 4, 6)], ids=["sound", "video"])
def test_images_and_tokens_lead_back_to_the_latents(shape, generator):
    layout = LAYOUTS[len(shape)](shape)
    x = torch.randn(2, *shape, generator=generator)
    images = layout.images(x, NoiseLevel.clean(2))
    painted = torch.zeros(len(images), layout.painted, *images.shape[2:])
    painted[:, :4] = images[:, :4]
    assert torch.equal(layout.latents(painted), x)
    tokens = torch.randn(2, layout.steps, layout.values, generator=generator)
    assert torch.equal(layout.tokens(layout.small(tokens)), tokens)


def test_configuration_survives_json():
    config = DenoiserConfig((4, 32, 16), width=32, layers=2)
    assert DenoiserConfig.from_record(config.to_record()) == config


def test_what_frames_have_in_common_is_painted_once_for_all(generator):
    layout = LAYOUTS[4]((4, 5, 4, 6))
    common = torch.randn(2 * 5, 4, 4, 6, generator=generator)
    latents = layout.latents(torch.cat([torch.zeros_like(common), common], 1))
    mean = common.unflatten(0, (2, 5)).mean(1)[:, :, None]
    assert_close(latents, mean.expand(2, 4, 5, 4, 6))


def test_what_is_seen_weighs_what_it_is_worth_as_evidence(generator):
    layout = LAYOUTS[4]((4, 5, 4, 6))
    noise = torch.randn(1, 4, 5, 4, 6, generator=generator)
    times = torch.tensor([999.0, 300.0], dtype=torch.float64)
    late, early = (layout.images(noise, video_schedule().level(t[None])) for t in times)
    assert late.abs().max() < 0.1
    # a frame's own values, once as single ones and once as of a thing that covers many; the mean's
    single, many, mean, means = early.square().mean((0, 2, 3)).unflatten(0, (4, 4)).mean(1)
    assert single < 0.6 * many
    assert mean < 0.6 * means


def test_its_own_kind_of_clips_is_kept_and_other_pictures_and_sounds_are_not():
    model = MiniatureSystem().model()
    own, other = example(99, 0).clip, waves(0)
    pictures = model.decode_video(model.encode_video([own.video, other.video]))
    sounds = model.decode_audio(model.encode_audio([own.audio, other.audio]))
    kept, lost = map(PictureReconstruction.of, (own.video, other.video), pictures)
    assert not picture_remark(kept.variance)
    assert picture_remark(lost.variance)
    heard, unheard = map(SoundReconstruction.of, (own.audio, other.audio), sounds)
    assert not sound_remark(heard.mel_distance)
    assert heard.onset_f1 == 1
    assert sound_remark(unheard.mel_distance)
