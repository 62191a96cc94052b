"""What Auffusion promises as a base model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from closeness import assert_close
from diffusers import AutoencoderKL
from test_auffusion_tiny import VOCODER, published

from mmdisco.adapters.auffusion import codec as spectrogram
from mmdisco.adapters.auffusion.codec import SilencePadding
from mmdisco.adapters.auffusion.model import Auffusion
from mmdisco.adapters.auffusion.prompts import ConditionAdapter
from mmdisco.adapters.auffusion.weights import new_vocoder
from mmdisco.core.denoiser import Conditioning
from mmdisco.core.noise import NoiseLevel, scaled_linear
from mmdisco.errors import UserError
from mmdisco.media.clip import Audio

PROMPTS = ["a dog", "", "roar"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return published(tmp_path_factory.mktemp("auffusion"))


@pytest.fixture(scope="module")
def parts(folder):
    return Auffusion.from_pretrained(folder).parts


@pytest.fixture(scope="module")
def model(parts):
    return Auffusion(parts)


def noise(count=1, columns=13):
    return torch.randn(count, 4, columns, 32, generator=torch.Generator().manual_seed(1))


def levels(model, *times):
    return model.schedule.level(torch.tensor(times, dtype=torch.float64))


def tone(samples=16000, rate=16000, loudness=0.3):
    t = np.arange(samples) / rate
    return Audio((loudness * np.sin(2 * np.pi * 440 * t)).astype(np.float32), rate)


def close(one, other, tolerance=1e-4):
    assert_close(one, other, rtol=tolerance)


@pytest.mark.parametrize(
    ("seconds", "columns"),
    [(0.01, 1), (0.08, 1), (1, 13), (1.6, 20), (2, 25), (2.0000001, 25), (10.24, 128)],
)
def test_a_latent_covers_the_seconds(model, seconds, columns):
    assert model.latent_shape(float(seconds)) == torch.Size([4, columns, 32])


@pytest.mark.parametrize(
    ("seconds", "message"),
    [
        (10.25, "makes up to 10.24; ask for less"),
        (float("inf"), "makes up to 10.24; ask for less"),
        (0.0, "ask for more than 0"),
        (-2.0, "ask for more than 0"),
        (float("nan"), "ask for more than 0"),
    ],
)
def test_other_seconds_are_refused(model, seconds, message):
    with pytest.raises(UserError, match=message):
        model.latent_shape(seconds)


@pytest.mark.parametrize("columns", [1, 13, 128])
def test_noise_has_the_shape_of_the_latent_in_float32(model, columns):
    x_t = noise(1, columns)
    eps = model.predict_noise(x_t, levels(model, 500), model.encode_prompts(["a dog"]))
    assert eps.shape == x_t.shape
    assert eps.dtype == torch.float32
    assert not eps.requires_grad
    assert eps.isfinite().all()


def test_a_prediction_depends_on_no_batch_mate(model):
    x_t, at = noise(3), levels(model, 900, 500, 30)
    together = model.predict_noise(x_t, at, model.encode_prompts(PROMPTS))
    for k, prompt in enumerate(PROMPTS):
        own = NoiseLevel(at.t[k : k + 1], at.alpha[k : k + 1], at.sigma[k : k + 1])
        alone = model.predict_noise(x_t[k : k + 1], own, model.encode_prompts([prompt]))
        close(together[k : k + 1], alone)


def test_prompt_and_level_change_the_noise(model):
    x_t, cond = noise(), model.encode_prompts(["a dog"])
    usual = model.predict_noise(x_t, levels(model, 500), cond)
    assert (usual - model.predict_noise(x_t, levels(model, 600), cond)).abs().max() > 1e-5
    other = model.encode_prompts(["roar"])
    assert (usual - model.predict_noise(x_t, levels(model, 500), other)).abs().max() > 1e-5


def test_time_and_frequency_are_not_mixed_up(model):
    """The network is convolutional: of two columns far apart, one does not feel the other."""
    x_t, cond, at = noise(1, 128), model.encode_prompts([""]), levels(model, 500)
    changed = x_t.clone()
    changed[:, :, 100:] += 1
    one, other = (model.predict_noise(x, at, cond) for x in (x_t, changed))
    difference = (one - other).abs().amax(dim=(0, 1, 3))
    assert difference[100:].mean() > 3 * difference[:60].mean()


def test_a_short_sound_is_continued_in_the_same_way_always(parts, model):
    x_t, at, cond = noise(), levels(model, 500), model.encode_prompts(["a dog"])
    first = model.predict_noise(x_t, at, cond)
    before = torch.random.get_rng_state()
    assert torch.equal(Auffusion(parts).predict_noise(x_t, at, cond), first)
    assert torch.equal(model.predict_noise(x_t, at, cond), first)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_continuation_is_silence_at_the_level_of_the_sound(model):
    x_t = noise(2)
    at = levels(model, 20, 900)
    whole = model.padding.extend(x_t, at)
    assert whole.shape == (2, 4, 128, 32)
    assert torch.equal(whole[:, :, :13], x_t)
    given = model.padding.silence.expand(2, -1, -1, -1), model.padding.noise.expand(2, -1, -1, -1)
    close(whole[:, :, 13:], at.add_noise(*given)[:, :, 13:])


def test_another_noise_of_the_continuation_changes_the_sound_a_little(parts, model):
    x_t, at, cond = noise(), levels(model, 500), model.encode_prompts(["a dog"])
    other = Auffusion(parts, padding=SilencePadding.seeded(model.padding.silence, seed=1))
    difference = other.predict_noise(x_t, at, cond) - model.predict_noise(x_t, at, cond)
    assert difference.abs().max() > 1e-6


def test_a_whole_sound_is_not_continued(parts, model):
    x_t, at, cond = noise(1, 128), levels(model, 500), model.encode_prompts(["a dog"])
    loud = SilencePadding(torch.full((4, 128, 32), torch.nan), torch.zeros(4, 128, 32))
    other = Auffusion(parts, padding=loud)
    assert torch.equal(other.predict_noise(x_t, at, cond), model.predict_noise(x_t, at, cond))


def test_no_prompt_is_zeros_and_prompts_are_independent(model):
    cond = model.encode_prompts(PROMPTS)
    assert cond.embeds[0].shape == (3, 77, 12)
    assert not cond.embeds[0][1].any()
    close(cond.pooled, cond.embeds[0].mean(1))
    for k, prompt in enumerate(PROMPTS):
        assert_close(
            model.encode_prompts([prompt]).embeds[0][0],
            cond.embeds[0][k],
            scale=cond.embeds[0].abs().max(),
        )


def test_what_follows_a_prompt_is_the_adapters_answer_to_nothing(parts, model):
    tokens = model.encode_prompts(["a dog"]).embeds[0][0]
    nothing = parts.adapter(torch.zeros(1, 1, 8))[0, 0]
    # six tokens: beginning, "a", three letters, end
    close(tokens[6:], nothing.expand(71, -1))
    assert (tokens[5] - nothing).abs().max() > 1e-3


def test_a_long_prompt_is_cut_with_a_warning(model):
    with pytest.warns(UserWarning, match="242 tokens: the text encoder reads the first 77"):
        assert model.encode_prompts(["dog " * 80]).embeds[0].shape == (1, 77, 12)


def test_parts_are_frozen_whatever_they_were(parts):
    parts.unet.train().requires_grad_()
    Auffusion(parts)
    for network in (parts.unet, parts.vae, parts.vocoder, parts.text_encoder, parts.adapter):
        assert not network.training
        assert not any(one.requires_grad for one in network.parameters())


def test_schedule_is_that_of_the_configuration(model):
    assert_close(model.schedule.alphas.double(), scaled_linear().alphas, rtol=1e-5)


@pytest.mark.parametrize(("samples", "columns"), [(1280, 1), (16000, 13), (32000, 25)])
def test_sounds_become_latents_of_their_length(model, samples, columns):
    latents = model.encode([tone(samples), tone(samples, loudness=0.15)])
    assert latents.shape == (2, 4, columns, 32)
    assert latents.dtype == torch.float32
    assert model.latent_shape(samples / 16000) == latents.shape[1:]
    # the training brought every sound to one level
    close(latents[0], latents[1])


def test_silence_has_the_latent_that_short_sounds_are_continued_with(model):
    silent = Audio(np.zeros(163840, dtype=np.float32), 16000)
    close(model.encode([silent])[0], model.padding.silence)


def test_latents_become_sounds_of_whole_columns(model):
    sounds = model.decode(3 * noise(2))
    assert [len(sound.waveform) for sound in sounds] == [13 * 1280] * 2
    for sound, latent in zip(sounds, (3 * noise(2)).split(1), strict=True):
        assert sound.sample_rate == 16000
        assert sound.waveform.dtype == np.float32
        assert np.abs(sound.waveform).max() <= 1
        assert_close(model.decode(latent)[0].waveform, sound.waveform)


@pytest.mark.parametrize(
    ("sounds", "message"),
    [
        ([tone(44100, 44100)], "sound of 44100 Hz: Auffusion takes 16000 Hz"),
        ([tone(1279)], "1279 samples: Auffusion takes 1280 to 163840"),
        ([tone(163841)], "cut it or add silence"),
        ([tone(), tone(17000)], "16000 and 17000 samples"),
    ],
)
def test_sounds_that_do_not_fit_are_refused(model, sounds, message):
    with pytest.raises(UserError, match=message):
        model.encode(sounds)


def test_networks_in_half_precision_still_speak_float32(folder):
    parts = Auffusion.from_pretrained(folder, dtype=torch.bfloat16).parts
    padding = SilencePadding.seeded(torch.zeros(4, 128, 32))
    model = Auffusion(parts, padding=padding)
    cond = model.encode_prompts(["a dog"])
    assert model.parts.unet.dtype == model.parts.vocoder.dtype == torch.bfloat16
    assert cond.embeds[0].dtype == torch.float32
    assert model.predict_noise(noise(), levels(model, 5), cond).dtype == torch.float32
    assert model.decode(noise(1, 1))[0].waveform.dtype == np.float32


def test_parts_that_do_not_belong_together_are_refused(parts):
    with pytest.raises(UserError, match="text of width 12 and a text encoder of width 9"):
        Auffusion(replace(parts, adapter=ConditionAdapter(8, 9)))
    with pytest.raises(UserError, match="does not reduce 8 times"):
        Auffusion(replace(parts, vae=AutoencoderKL(latent_channels=4)))
    other = new_vocoder(VOCODER | {"num_mels": 80}, Path("config.json"))
    with pytest.raises(UserError, match="a vocoder of 80 bins at 16000 Hz, 160 samples a column"):
        Auffusion(replace(parts, vocoder=other))


@pytest.mark.parametrize("kernels", [[11, 8, 8, 4], [10, 7, 9, 3]])
def test_a_vocoder_gives_its_rate_whether_its_kernels_are_even_or_odd(kernels):
    vocoder = new_vocoder(VOCODER | {"upsample_kernel_sizes": kernels}, Path("config.json"))
    with torch.no_grad():
        assert vocoder(torch.zeros(7, VOCODER["num_mels"])).shape == (7 * 160,)


def test_inputs_are_left_as_they_were(model):
    x_t, tokens = noise(), model.encode_prompts(["a dog"]).embeds[0]
    kept = x_t.clone(), tokens.clone()
    model.predict_noise(x_t, levels(model, 500), Conditioning(tokens.mean(1), (tokens,)))
    model.decode(x_t)
    assert torch.equal(x_t, kept[0])
    assert torch.equal(tokens, kept[1])


def test_a_picture_becomes_the_spectrogram_it_was_made_of():
    mel = spectrogram.log_mel(torch.from_numpy(tone().waveform)[None])
    assert mel.shape == (1, 256, 100)
    close(spectrogram.from_picture(spectrogram.to_picture(mel))[:, :, :100], mel)
    # a higher tone is nearer to the top
    rows = [
        spectrogram.to_picture(spectrogram.log_mel(torch.sin(pitch * torch.arange(8000.0))[None]))[
            0, 0, :, 20
        ].argmax()
        for pitch in (0.2, 1.0)
    ]
    assert rows[1] < rows[0]
