"""Lengths, sizes and rates that a model takes, and where it runs."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from closeness import assert_close
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    EulerDiscreteScheduler,
    UNet2DConditionModel,
)
from test_adapters_tiny import (
    BUILDERS,
    PICTURE,
    SECONDS,
    animatediff,
    audioldm,
    audioldm2,
    audioldm2_parts,
    audioldm_parts,
    autoencoder,
    clips,
    modality,
    roberta_tokenizer,
    sounds,
    text_to_video,
    videos,
    vocoder,
)

from mmdisco.adapters.device import Runtime
from mmdisco.adapters.stock.schedulers import as_trained, read_scheduler
from mmdisco.adapters.videocrafter2.codec import VideoVAE
from mmdisco.core.noise import scaled_linear
from mmdisco.errors import UserError
from mmdisco.media.clip import Audio, Video

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("seconds", [0.0, -1.0, 0.0003, float("nan"), float("inf")])
def test_lengths_that_a_model_cannot_make_are_refused(name, seconds):
    with pytest.raises(UserError, match="ask for") as error:
        BUILDERS[name]().latent_shape(seconds)
    assert "\n" not in str(error.value)


def test_the_nearest_lengths_are_named():
    with pytest.raises(UserError, match=r"ask for 0\.25 or 0\.375"):
        text_to_video().latent_shape(0.3)


def test_the_published_rates():
    vae = AutoencoderKL(
        in_channels=1,
        out_channels=1,
        latent_channels=8,
        block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=8,
    )
    small = {"model_in_dim": 64, "upsample_initial_channel": 32, "normalize_before": False}
    rates = {"upsample_rates": [5, 4, 2, 2, 2], "upsample_kernel_sizes": [16, 16, 8, 4, 4]}
    published = type(vocoder())(type(vocoder().config)(**small, **rates))
    unet = UNet2DConditionModel.from_config({**audioldm_parts()["unet"].config, "in_channels": 8})
    codec = audioldm(unet=unet, vae=vae, vocoder=published)
    assert codec.steps_per_second == 25
    assert codec.latent_shape(2.0) == torch.Size([8, 50, 16])
    given = sounds(1, samples=3200)
    assert codec.encode(given).shape == (1, 8, 5, 16)
    # this vocoder makes 32 samples more than it should
    (sound,) = codec.decode(codec.encode(given))
    assert isinstance(sound, Audio)
    assert len(sound.waveform) == 3200


@pytest.mark.parametrize(
    ("audio", "said"),
    [
        (Audio(np.zeros(1280, np.float32), 44_100), "44100 a second"),
        (Audio(np.zeros(504, np.float32), 16_000), "more than 510"),
    ],
)
def test_sounds_that_do_not_fit_are_refused(audio, said):
    with pytest.raises(UserError, match=said):
        audioldm().encode([audio])


def test_a_sound_between_latent_steps_is_filled_up_with_silence():
    (sound,) = sounds(1, samples=1276)
    padded = Audio(np.pad(sound.waveform, (0, 4)), 16_000)
    assert torch.equal(audioldm().encode([sound]), audioldm().encode([padded]))


def test_sounds_of_two_lengths_are_refused():
    with pytest.raises(UserError, match="1280 and 2560"):
        audioldm2().encode([*sounds(1), *sounds(1, samples=2560)])


@pytest.mark.parametrize(
    ("video", "said"),
    [
        (Video(np.zeros((4, 16, 16, 3), np.float32), PICTURE.fps), "is set to 24×16"),
        (Video(np.zeros((4, 16, 24, 3), np.float32), Fraction(10)), "10 a second: .* takes 8"),
    ],
)
def test_videos_that_do_not_fit_are_refused(video, said):
    with pytest.raises(UserError, match=said):
        text_to_video().encode([video])


def test_videos_of_two_lengths_are_refused():
    with pytest.raises(UserError, match="4 and 6 frames"):
        animatediff().encode([*videos(1), *videos(1, frames=6)])


def test_more_frames_than_the_motion_modules_know_are_refused():
    model = animatediff()
    assert model.latent_shape(1.5)[1] == 12
    with pytest.raises(UserError, match="12 at most"):
        model.latent_shape(1.625)
    with pytest.raises(UserError, match="12 at most"):
        model.encode(videos(1, frames=13))


def test_a_network_without_positions_makes_any_number_of_frames():
    assert text_to_video().latent_shape(10.0)[1] == 80


def test_sizes_that_the_autoencoder_cannot_divide_are_refused():
    with pytest.raises(UserError, match="multiples of 2"):
        animatediff(picture=replace(PICTURE, height=15))


def test_the_rate_of_videos_is_the_picture_s():
    model = text_to_video(picture=replace(PICTURE, fps=Fraction(30_000, 1001)))
    assert model.latent_shape(1001 / 1000)[1] == 30
    (video,) = model.decode(torch.zeros(1, *model.latent_shape(1001 / 1000)))
    assert isinstance(video, Video)
    assert video.fps == Fraction(30_000, 1001)


def test_a_vocoder_of_another_rate_is_refused():
    fast = type(vocoder())(type(vocoder().config)(sampling_rate=48_000, model_in_dim=8))
    with pytest.raises(UserError, match="48000 Hz"):
        audioldm(vocoder=fast).encode([Audio(np.zeros(48_000, np.float32), 48_000)])


def test_a_denoiser_and_an_autoencoder_of_two_checkpoints_are_refused():
    wide = UNet2DConditionModel.from_config({**audioldm_parts()["unet"].config, "in_channels": 8})
    with pytest.raises(UserError, match="denoiser of 8 channels"):
        audioldm(unet=wide)


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("option", ["offload", "vae_slicing"])
def test_saving_memory_changes_nothing(name, option):
    plain, saving = BUILDERS[name](), BUILDERS[name](runtime=Runtime(**{option: True}))
    cond = plain.encode_prompts(["a"])
    shape = plain.latent_shape(SECONDS[modality(name)])
    x_t = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    at = plain.schedule.level(torch.tensor([500.0], dtype=torch.float64))
    results = [
        (
            one.encode_prompts(["a"]).pooled,
            one.predict_noise(x_t, at, cond),
            one.encode(clips(name, 1)),
            torch.from_numpy(
                getattr(one.decode(x_t)[0], "waveform" if "ldm" in name else "frames")
            ),
        )
        for one in (plain, saving)
    ]
    for one, other in zip(*results, strict=True):
        assert_close(one, other)


def test_options_reach_the_autoencoder_and_the_networks():
    runtime = Runtime(vae_slicing=True, vae_tiling=True, offload=True)
    parts = animatediff(runtime=runtime).pipe
    assert parts.vae.use_slicing
    assert parts.vae.use_tiling
    assert hasattr(parts.unet, "_hf_hook")
    bare = animatediff().pipe
    assert not bare.vae.use_slicing
    assert not bare.vae.use_tiling
    assert not hasattr(bare.unet, "_hf_hook")


def test_tiles_make_a_large_picture_nearly_the_same():
    torch.manual_seed(0)
    vae = autoencoder(3).eval()
    given = videos(1, frames=2, picture=replace(PICTURE, height=96, width=96))
    codec = VideoVAE(vae, replace(PICTURE, height=96, width=96), CPU, "tiles")
    whole = codec.encode(given)
    vae.tile_sample_min_size, vae.tile_latent_min_size = 64, 32
    vae.enable_tiling()
    tiled = codec.encode(given)
    assert tiled.shape == whole.shape
    assert not torch.equal(tiled, whole)


def test_what_a_prompt_has_too_much_is_left_out_with_a_warning():
    model = animatediff()
    with pytest.warns(UserWarning, match="reads the first 77"):
        long = model.encode_prompts(["a " * 200])
    assert torch.equal(long.pooled, model.encode_prompts(["a " * 75]).pooled)


def test_a_tokenizer_without_a_length_is_refused():
    tokenizer = roberta_tokenizer()
    tokenizer.model_max_length = int(1e30)
    with pytest.raises(UserError, match="model_max_length"):
        audioldm(tokenizer=tokenizer)


def test_the_language_model_says_as_much_as_its_checkpoint_states():
    pipe = audioldm2().pipe
    assert pipe.encode_prompt("a", "cpu", 1, False)[2].shape == (1, 5, 16)  # noqa: FBT003
    bare = audioldm2_parts()["language_model"]
    del bare.config.max_new_tokens
    pipe = audioldm2(language_model=bare).pipe
    assert pipe.encode_prompt("a", "cpu", 1, False)[2].shape == (1, 8, 16)  # noqa: FBT003


def trained(scheduler):
    return read_scheduler(as_trained(scheduler)).schedule


def test_latents_are_in_the_units_of_the_training_whatever_the_scheduler():
    made = trained(EulerDiscreteScheduler(beta_schedule="scaled_linear"))
    assert_close(made.alphas**2 + made.sigmas**2, torch.ones(1000, dtype=torch.float64))


def test_a_named_table_is_the_project_s_own():
    table = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    made, own = trained(table), scaled_linear()
    assert_close(made.alphas, own.alphas, rtol=1e-5)  # theirs is in single precision


def test_a_given_table_is_taken_as_it_is():
    betas = [0.1, 0.2, 0.3]
    made = trained(DDPMScheduler(3, trained_betas=betas))
    expected = torch.cumprod(1 - torch.tensor(betas).double(), 0).sqrt()
    assert_close(made.alphas, expected, rtol=1e-6)  # theirs is in single precision


def test_a_row_of_no_signal_at_all_is_left_out():
    flat = DDIMScheduler(rescale_betas_zero_snr=True, prediction_type="v_prediction")
    made = trained(flat)
    assert len(made.times) == 999
    assert made.alphas[-1] > 0
