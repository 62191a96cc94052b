from fractions import Fraction

import numpy as np
import pytest
import torch
from closeness import assert_close

from mmdisco.adapters.mmdiffusion.config import JointConfig, UNetLevel, UpscalerConfig
from mmdisco.adapters.mmdiffusion.model import MMDiffusion
from mmdisco.adapters.mmdiffusion.network import JointNetwork
from mmdisco.adapters.mmdiffusion.super_resolution import FrameDenoiser, Upscaler, UpscalerNetwork
from mmdisco.core.av import AV
from mmdisco.core.denoiser import Conditioning
from mmdisco.core.guidance import ConstantScale
from mmdisco.core.noise import NoiseLevel
from mmdisco.core.schedulers import solver
from mmdisco.discriminators.convolutions import VideoLatents, WaveformLatents
from mmdisco.discriminators.fusion import TimeFusionConfig
from mmdisco.discriminators.two_tower import AudioVideoConfig, AudioVideoDiscriminator
from mmdisco.errors import UserError
from mmdisco.generation.pipeline import (
    GenerationRun,
    JointGeneration,
    SamplerConfig,
    VideoToAudio,
    generate,
)
from mmdisco.media.clip import Audio, Video

SMALL = JointConfig(
    width=32,
    levels=(UNetLevel(32), UNetLevel(32, window=1, video_attention=True)),
    depth=1,
    crosses_middle=True,
    head_channels=32,
    frames=4,
    side=8,
    samples=6400,
)


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MMDiffusion(JointNetwork(SMALL).eval().requires_grad_(False))  # noqa: FBT003


@pytest.fixture(scope="module")
def upscaler():
    config = UpscalerConfig(levels=(32, 32), attention=(False, True), depth=1, heads=4, side=16)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = UpscalerNetwork(config).eval().requires_grad_(False)  # noqa: FBT003
    return Upscaler(FrameDenoiser(network), steps=4)


def generation(model, scale=0.0, task=None):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        discriminator = AudioVideoDiscriminator(
            AudioVideoConfig(
                audio=WaveformLatents(channels=1, rate=16000.0, time_pool=4),
                video=VideoLatents(channels=3, rate=10.0),
                width=16,
                depth=1,
                channel_mult=(1, 1),
                fusion=TimeFusionConfig(d_model=16, num_layers=1, num_heads=2),
            )
        )
        for parameter in discriminator.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    settings = SamplerConfig(
        steps=2,
        solvers=AV(solver("ddim"), solver("dpm++2m")),
        cfg_scale=AV(1.0, 1.0),
        joint_scale=AV(ConstantScale(scale), ConstantScale(scale)),
    )
    return GenerationRun(model, discriminator, settings, task or JointGeneration(), 0.4)


def video(frames=4, side=8, fps=10):
    values = np.random.default_rng(0).random((frames, side, side, 3), np.float32)
    return Video(values, Fraction(fps))


def audio(samples=6400, rate=16000):
    return Audio(np.random.default_rng(0).uniform(-1, 1, samples).astype(np.float32), rate)


def level(model, t, count=2):
    return model.schedules.audio.level(torch.full((count,), float(t)))


def latents(count=2):
    generator = torch.Generator().manual_seed(0)
    return AV(
        torch.randn(count, 1, 6400, generator=generator),
        torch.randn(count, 3, 4, 8, 8, generator=generator),
    )


def none(count=2):
    return AV(Conditioning.none(count), Conditioning.none(count))


def test_general_samplers_and_guidance_take_it(model):
    alone = generate(generation(model), ["", ""], [3, 4])
    guided = generate(generation(model, 5.0), ["", ""], [3, 4])
    assert alone[0].audio.waveform.shape == (6400,)
    assert alone[0].video.frames.shape == (4, 8, 8, 3)
    assert np.abs(alone[1].video.frames - guided[1].video.frames).max() > 1e-4


def test_clip_depends_on_its_own_seed_alone(model):
    both = generate(generation(model.seeded([3, 4])), ["", ""], [3, 4])
    alone = generate(generation(model.seeded([4])), [""], [4])
    assert_close(both[1].audio.waveform, alone[0].audio.waveform, rtol=1e-3)
    assert_close(both[1].video.frames, alone[0].video.frames, rtol=1e-3)


def test_seeds_move_the_windows(model):
    here = level(model, 500)
    eps = [
        model.seeded([seed]).predict_noise(latents(), AV(here, here), none()).video
        for seed in (0, 0, 1)
    ]
    assert torch.equal(eps[0], eps[1])
    assert not torch.equal(eps[0], eps[2])


def test_noise_has_the_precision_of_the_latents(model):
    here = level(model, 500)
    z_t = latents()
    single = model.predict_noise(z_t, AV(here, here), none()).video
    double = model.predict_noise(z_t.map(lambda x: x.double()), AV(here, here), none()).video
    assert double.dtype == torch.float64
    assert_close(double.float(), single)


@pytest.mark.parametrize("both_clean", [True, False], ids=["both clean", "two levels"])
def test_one_level_for_both(both_clean, model):
    clean = NoiseLevel.clean(2)
    levels = AV(clean, clean) if both_clean else AV(level(model, 500), level(model, 400))
    with pytest.raises(UserError, match="one noise level"):
        model.predict_noise(latents(), levels, none())


def test_sound_follows_a_given_video(model):
    def made(seed):
        frames = np.random.default_rng(seed).random((4, 8, 8, 3), np.float32)
        given = Video(frames, Fraction(10))
        (clip,) = generate(generation(model, task=VideoToAudio([given], [given])), [""], [0])
        assert np.array_equal(clip.video.frames, frames)
        return clip.audio.waveform

    np.testing.assert_array_equal(made(0), made(0))
    assert np.abs(made(0) - made(1)).max() > 1e-5


def test_clips_survive_latents(model):
    sound, picture = audio(), video()
    (heard,) = model.decode_audio(model.encode_audio([sound]))
    (seen,) = model.decode_video(model.encode_video([picture]))
    assert_close(heard.waveform, sound.waveform)
    assert_close(seen.frames, picture.frames)
    assert (heard.sample_rate, seen.fps) == (16000, 10)


def test_latents_span_both_signs(model):
    z = model.encode_video([Video(np.zeros((4, 8, 8, 3), np.float32), Fraction(10))])
    assert z.shape == (1, 3, 4, 8, 8)
    assert (z == -1).all()


def test_what_is_out_of_range_is_cut_off(model):
    (heard,) = model.decode_audio(torch.full((1, 1, 6400), 1.5))
    (seen,) = model.decode_video(torch.full((1, 3, 4, 8, 8), -2.0))
    assert heard.waveform.max() == 1
    assert seen.frames.min() == 0


@pytest.mark.parametrize(
    ("one", "told"), [(audio(6399), "6399 samples"), (audio(rate=8000), "8000 Hz")]
)
def test_other_sounds_are_refused(model, one, told):
    with pytest.raises(UserError, match=told):
        model.encode_audio([one])


@pytest.mark.parametrize(
    ("one", "told"),
    [(video(5), "5 frames"), (video(side=16), "16×16"), (video(fps=25), "25 fps")],
)
def test_other_videos_are_refused(model, one, told):
    with pytest.raises(UserError, match=told):
        model.encode_video([one])


def test_prompts_are_refused(model):
    assert model.encode_prompts(["", " "]).audio.pooled.shape == (2, 0)
    with pytest.raises(UserError, match="takes no prompts"):
        model.encode_prompts(["", "a red ball"])


def test_one_length_alone(model):
    shapes = model.latent_shapes(0.4)
    assert shapes == AV(torch.Size([1, 6400]), torch.Size([3, 4, 8, 8]))
    with pytest.raises(UserError, match=r"0\.4 only"):
        model.latent_shapes(1.6)


def test_enlarged_video_has_the_size_of_the_network(upscaler):
    large = upscaler.enlarge(video(), seed=0)
    assert large.frames.shape == (4, 16, 16, 3)
    assert large.fps == 10


def test_noise_of_the_enlargement_is_seeded(upscaler):
    frames = [upscaler.enlarge(video(), seed).frames for seed in (0, 0, 1)]
    np.testing.assert_array_equal(frames[0], frames[1])
    assert np.abs(frames[0] - frames[2]).max() > 0.1


def test_equal_frames_are_enlarged_equally(upscaler):
    one = video(1).frames
    large = upscaler.enlarge(Video(np.repeat(one, 3, 0), Fraction(10)), 0).frames
    assert_close(large[1:], large[:1].repeat(2, 0), rtol=1e-4)


def test_frames_at_once_change_nothing(upscaler):
    fewer = Upscaler(upscaler.denoiser, upscaler.steps, frames_at_once=1)
    assert_close(fewer.enlarge(video(), 0).frames, upscaler.enlarge(video(), 0).frames, rtol=1e-4)


@pytest.mark.parametrize("steps", [0, 1001])
def test_steps_of_enlarging_are_bounded(upscaler, steps):
    with pytest.raises(UserError, match=f"{steps} steps"):
        Upscaler(upscaler.denoiser, steps).enlarge(video(), 0)


def test_enlarged_size_must_divide():
    config = UpscalerConfig(levels=(32, 32), attention=(False, False), depth=1, heads=4, side=15)
    with pytest.raises(UserError, match="multiples of 2"):
        Upscaler(FrameDenoiser(UpscalerNetwork(config)), 1).enlarge(video(), 0)
