"""A pair of another geometry than the embedded one: its config.json alone says so."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from mmdisco.adapters.miniature import FORM
from mmdisco.adapters.miniature.denoiser import ConvTransformer
from mmdisco.adapters.miniature.model import TextEncoder
from mmdisco.errors import UserError
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.generation.presets.registry import preset
from mmdisco.media.clip import Audio, Video
from mmdisco.training.bases.config import BasesConfig
from mmdisco.training.bases.pair import (
    denoiser_configs,
    latent_shapes,
    new_autoencoders,
    pack,
    pair_record,
    spectrogram_axes,
)

SAMPLES, FRAMES = 36_082, 18
SECONDS = Fraction(FRAMES, 11)


@pytest.fixture(scope="module")
def own_config():
    return BasesConfig(
        source="clips",
        out="pair",
        size="72x96",
        fps=11,
        seconds=SECONDS,
        sample_rate=22_050,
        audio_autoencoder={"widths": (8, 8)},
        video_autoencoder={"widths": (8, 8, 8)},
        audio_denoiser={"channels": 8, "width": 16, "layers": 1},
        video_denoiser={"channels": 8, "width": 16, "layers": 1},
    )


@pytest.fixture(scope="module")
def own_pair(own_config, tmp_path_factory):
    """A pair that was not trained."""
    folder, words = tmp_path_factory.mktemp("own"), ("drum", "hit")
    autoencoders, denoisers = new_autoencoders(own_config), denoiser_configs(own_config)
    networks = {
        "text_encoder": TextEncoder(words),
        "audio_autoencoder": autoencoders.audio,
        "video_autoencoder": autoencoders.video,
        "audio_denoiser": ConvTransformer(denoisers.audio),
        "video_denoiser": ConvTransformer(denoisers.video),
    }
    weights = {name: network.state_dict() for name, network in networks.items()}
    pack(weights, pair_record(own_config, words), folder, {})
    return folder


@pytest.fixture(scope="module")
def pair(own_pair):
    return MiniatureSystem(own_pair)


def test_the_packaged_configuration_says_what_the_constants_say():
    assert MiniatureSystem().form == FORM


def test_clips_of_other_sides_rates_and_odd_latents_go_through(pair):
    model = pair.model()
    rng = np.random.default_rng(0)
    video = Video(rng.random((FRAMES, 72, 96, 3), np.float32), Fraction(11))
    audio = Audio(rng.uniform(-0.5, 0.5, SAMPLES).astype(np.float32), 22_050)
    assert pair.form.seconds == SECONDS
    shapes = model.latent_shapes(float(pair.form.seconds))
    z_video, z_audio = model.encode_video([video]), model.encode_audio([audio])
    assert (z_audio.shape[1:], z_video.shape[1:]) == (shapes.audio, shapes.video)
    (shown,), (heard,) = model.decode_video(z_video), model.decode_audio(z_audio)
    assert (shown.frames.shape, shown.fps) == (video.frames.shape, video.fps)
    assert (heard.waveform.shape, heard.sample_rate) == (audio.waveform.shape, 22_050)
    cond = model.encode_prompts(["drum"]).video
    level = model.video.schedule.level(torch.tensor([500.0], dtype=torch.float64))
    eps = model.video.predict_noise(torch.randn_like(z_video), level, cond)
    assert eps.shape == z_video.shape
    assert eps.isfinite().all()


def test_longer_clips_are_whole_frames_of_the_pair(pair):
    model = pair.model()
    assert model.latent_shapes(float(Fraction(27, 11))).map(lambda one: one[1]) == (
        model.latent_shapes(float(SECONDS)).map(lambda one: one[1] * 27 // 18)
    )
    with pytest.raises(UserError, match="this pair makes clips of 1"):
        model.latent_shapes(1.7)


def test_columns_of_a_spectrogram_cover_the_clip_and_hardly_more(own_config):
    scale, shapes = spectrogram_axes(own_config), latent_shapes(own_config)
    covered = scale.hop * shapes.audio[1] * 4
    assert SAMPLES <= covered < 1.005 * SAMPLES
    assert shapes.video == torch.Size([4, FRAMES, 9, 12])


def test_a_folder_is_a_preset_and_needs_a_discriminator_for_guidance(own_pair):
    found = preset(str(own_pair))
    assert found.name == str(own_pair)
    assert found.form.size == (72, 96)
    with pytest.raises(UserError, match="no discriminator of its own"):
        MiniatureSystem(own_pair).discriminator()
