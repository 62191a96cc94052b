"""Pipelines of diffusers as base models."""

import dataclasses
import math
from fractions import Fraction
from types import SimpleNamespace

import diffusers
import numpy as np
import pytest
import torch
from closeness import assert_close
from stockpipelines import AUDIO, VIDEO, build

from mmdisco.adapters.stock.families import AUDIO as AUDIO_FAMILIES
from mmdisco.adapters.stock.families import VIDEO as VIDEO_FAMILIES
from mmdisco.adapters.stock.families import family_of, family_of_class
from mmdisco.adapters.stock.model import stock_audio, stock_video
from mmdisco.adapters.stock.schedulers import read_scheduler
from mmdisco.errors import UserError
from mmdisco.media.clip import Video
from mmdisco.testing import StockModelContract, record_steps


def stock(name):
    pipe, call = build(name)
    del call["prompt"]
    make = stock_video if name in VIDEO else stock_audio
    return make(pipe, {**call, "num_inference_steps": 4})


class TestStockModels(StockModelContract):
    @pytest.fixture(scope="class", params=[*VIDEO, *AUDIO])
    def model(self, request):
        return stock(request.param)

    @pytest.fixture
    def seconds(self, model):
        return float(model.seconds)


@pytest.mark.parametrize("name", ["wan", "animatediff", "stable audio 3"])
def test_the_probe_equals_the_run_in_half_precision(name):
    model = stock(name)
    model.pipe.to(torch.bfloat16)
    visit = record_steps(model, "a dog")[2]
    x_t, output = (
        model.family.layout.to_core(model.pipe, one, model.sample_shape).float()
        for one in (visit.sample, visit.output)
    )
    eps = model.levels.prediction.to_eps(output, x_t, visit.level)
    probed = model.predict_noise(x_t, visit.level, model.encode_prompts(["a dog"]))
    assert probed.dtype == torch.float32
    assert torch.equal(probed, eps)


@pytest.fixture(scope="module")
def wan():
    return stock("wan")


def test_a_pipeline_is_left_as_it_was(wan):
    x = torch.randn(1, *wan.sample_shape)
    wan.decode(x)
    scheduler, before = wan.pipe.scheduler, dict(vars(wan.pipe))
    stepped = dict(vars(scheduler))
    wan.predict_noise(x, wan.schedule.level(torch.tensor([500.0])), wan.encode_prompts(["a"]))
    wan.decode(x)
    assert vars(wan.pipe) == before
    assert wan.pipe.scheduler is scheduler
    assert vars(scheduler) == stepped


def test_a_prompt_is_encoded_once(wan):
    model = dataclasses.replace(wan)
    encoded = []
    wan.pipe.text_encoder.register_forward_hook(lambda *_: encoded.append(1))
    cond = model.encode_prompts(["a cat", "a cat"])
    x = torch.randn(2, *wan.sample_shape)
    model.predict_noise(x, wan.schedule.level(torch.tensor([500.0, 20.0])), cond)
    once = len(encoded)
    model.predict_noise(x, wan.schedule.level(torch.tensor([100.0, 90.0])), cond)
    assert len(encoded) == once <= 3


@pytest.mark.parametrize(
    ("name", "times", "calls"),
    [("wan", (500, 500, 500), 2), ("wan", (500, 400, 500), 4), ("audioldm", (500, 400, 30), 1)],
)
def test_samples_run_together_where_one_call_takes_their_levels(name, times, calls):
    model = stock(name)
    if name == "audioldm":
        model = dataclasses.replace(model, call={**model.call, "guidance_scale": 1.0})
    network = getattr(model.pipe, "unet", None) or model.pipe.transformer
    ran = []
    network.register_forward_hook(lambda *_: ran.append(1))
    x = torch.randn(3, *model.sample_shape)
    level = model.schedule.level(torch.tensor(times, dtype=torch.float64))
    model.predict_noise(x, level, model.encode_prompts(["a", "b", "a longer one"]))
    assert len(ran) == calls  # wan runs its network twice for classifier-free guidance


def test_audioldm2_is_pooled_to_the_vector_of_clap():
    model = stock("audioldm2")
    text = model.pipe.tokenizer("a dog", padding="max_length", max_length=24, return_tensors="pt")
    vector = model.pipe.text_encoder.get_text_features(**text).pooler_output
    pooled = model.encode_prompts(["a longer prompt", "a dog"]).pooled
    assert_close(pooled[1:], vector / vector.norm())


def test_a_long_prompt_is_cut_with_a_warning():
    model = stock("animatediff")
    with pytest.warns(UserWarning, match="reads the first 24"):
        long = model.encode_prompts(["a " * 200]).pooled
    assert_close(long, model.encode_prompts(["a " * 22]).pooled)


def test_clips_that_do_not_fit_are_refused():
    model = stock("animatediff")
    frames = np.zeros((3, 8, 8, 3), np.float32)
    with pytest.raises(UserError, match="3 and 2 frames"):
        model.encode([Video(frames, Fraction(8)), Video(frames[:2], Fraction(8))])
    with pytest.raises(UserError, match="is set to 8×8"):
        model.encode([Video(np.zeros((3, 8, 16, 3), np.float32), Fraction(8))])
    with pytest.raises(UserError, match="takes 8; convert"):
        model.encode([Video(frames, Fraction(10))])
    with pytest.raises(UserError, match="multiples of 2"):
        dataclasses.replace(model, call={"height": 9}).latent_shape(0.25)
    most = model.pipe.unet.config.motion_max_seq_length
    with pytest.raises(UserError, match=f"{most} at most"):
        model.latent_shape((most + 1) / 8)


def test_the_image_of_a_video_is_no_part_of_its_latent():
    """A video of an image encodes to the steps after it, and another image gives another ε̂."""
    plain, model = stock("ltx"), stock("ltx i2v")
    video = model.decode(torch.randn(1, *model.sample_shape))
    assert torch.equal(model.encode(video), plain.encode(video)[:, :, 1:])
    x, level = torch.randn(1, *model.sample_shape), model.schedule.level(torch.tensor([500.0]))
    other = dataclasses.replace(model, call={**model.call, "image": torch.zeros(1, 3, 32, 32)})
    eps, changed = (
        one.predict_noise(x, level, one.encode_prompts(["a"])) for one in (model, other)
    )
    assert not torch.equal(eps, changed)
    with pytest.raises(UserError, match="5 at least"):
        model.latent_shape(1 / 25)


@pytest.mark.parametrize("seconds", [0.0, -1.0, 0.0003, math.nan, math.inf])
@pytest.mark.parametrize("name", ["wan", "animatediff", "audioldm"])
def test_a_length_that_cannot_be_made_is_refused(name, seconds):
    with pytest.raises(UserError, match="ask for"):
        stock(name).latent_shape(seconds)


SCHEDULERS = {
    diffusers.DDPMScheduler: {"clip_sample": False},
    diffusers.PNDMScheduler: {"skip_prk_steps": True},
    diffusers.DPMSolverMultistepScheduler: {"use_karras_sigmas": True},
    diffusers.DPMSolverSinglestepScheduler: {},
    diffusers.DEISMultistepScheduler: {},
    diffusers.UniPCMultistepScheduler: {},
    diffusers.EulerDiscreteScheduler: {},
    diffusers.EulerAncestralDiscreteScheduler: {},
    diffusers.HeunDiscreteScheduler: {},
    diffusers.LMSDiscreteScheduler: {},
}


@pytest.mark.parametrize("kind", SCHEDULERS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_the_level_of_a_sample_is_that_of_its_noise(kind, prediction_type):
    """A perfect network is asked at every step of a run: its x_0 stays where it is."""
    settings = {"beta_schedule": "scaled_linear", "prediction_type": prediction_type}
    scheduler = kind.from_config({**settings, **SCHEDULERS[kind]})
    levels = read_scheduler(scheduler)
    scheduler.set_timesteps(8)
    x_0 = torch.randn(1, 64, generator=torch.Generator().manual_seed(0))
    eps = torch.randn(1, 64, generator=torch.Generator().manual_seed(1))
    x = eps * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        scheduler.scale_model_input(x, t)
        level = levels.level(scheduler, t)
        alpha, sigma = float(level.alpha), float(level.sigma)
        noise = (x - alpha * x_0) / sigma
        output = levels.prediction.from_eps(noise, x, level)
        torch.testing.assert_close(levels.prediction.to_eps(output, x, level), noise)
        moved = levels.prediction.from_eps(noise + 0.1, x, level) - output
        gain = float(levels.prediction.gain(level))
        assert_close(moved, torch.full_like(moved, 0.1 * gain), rtol=1e-4, scale=output.abs().max())
        x = scheduler.step(output, t, x).prev_sample
    assert (x - x_0).abs().max() < 0.2 * x_0.abs().max()


UNGUIDABLE = {
    "SkyReelsV2DiffusionForcing": "each frame a noise level of its own",
    "Helios": "chunk after chunk",
    "HunyuanVideoFramepack": "section after section",
    "AnyFlow": "a flow map",
    "LTX2": "to --joint-model",
}


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in dir(diffusers)
        if name.startswith(tuple(UNGUIDABLE)) and name.endswith("Pipeline")
    ],
)
def test_what_has_no_noise_of_one_level_is_refused_by_name(name):
    """Every class of diffusers that is autoregressive, forces diffusion, is a flow map or joint."""
    (why,) = (said for beginning, said in UNGUIDABLE.items() if name.startswith(beginning))
    with pytest.raises(UserError, match=f"^{name} cannot be guided: .*{why}"):
        family_of_class(type(name, (), {}), VIDEO_FAMILIES)


def test_every_kind_that_is_refused_is_in_diffusers():
    for beginning in UNGUIDABLE:
        assert any(name.startswith(beginning) for name in dir(diffusers))


def test_an_unknown_pipeline_is_told_what_is_missing(wan):
    unknown = type("MyPipeline", (), {"scheduler": wan.pipe.scheduler})()
    with pytest.raises(UserError, match=r"MyPipeline is not among .* AudioFamily"):
        family_of(unknown, AUDIO_FAMILIES)
    with pytest.raises(UserError, match="has no scheduler"):
        family_of(object(), VIDEO_FAMILIES)


def test_a_pipeline_that_derives_from_a_known_one_is_known(wan):
    own = type("MyWan", (diffusers.WanPipeline,), {})
    pipe = own(**wan.pipe.components)
    assert family_of(pipe, VIDEO_FAMILIES) is wan.family


def test_a_length_between_latent_steps_names_the_nearest(wan):
    with pytest.raises(UserError, match=r"ask for 0\.5625 or 0\.8125"):
        wan.latent_shape(0.7)


def test_a_scheduler_that_is_not_known_is_refused():
    with pytest.raises(UserError, match="ScoreSdeVeScheduler"):
        read_scheduler(diffusers.ScoreSdeVeScheduler())


def test_an_argument_that_the_pipeline_does_not_take_is_refused(wan):
    with pytest.raises(UserError, match="takes no audio_length"):
        _ = dataclasses.replace(wan, call={"audio_length": 2}).arguments


def test_a_network_that_caches_over_steps_is_refused_for_predictions(wan):
    transformer = wan.pipe.transformer
    config = diffusers.PyramidAttentionBroadcastConfig(
        spatial_attention_block_skip_range=2, current_timestep_callback=lambda: 500
    )
    transformer.enable_cache(config)
    x, level = torch.randn(1, *wan.sample_shape), wan.schedule.level(torch.tensor([500.0]))
    with pytest.raises(UserError, match="disable_cache"):
        wan.predict_noise(x, level, wan.encode_prompts(["a"]))
    transformer.disable_cache()
    assert wan.predict_noise(x, level, wan.encode_prompts(["a"])).isfinite().all()


@pytest.mark.parametrize("steps", [7, 14, 15, 23, 28, 30, 46, 53, 55, 56])
def test_a_length_in_floating_point_is_so_many_steps_and_samples(steps):
    """As a pipeline rounds: AudioLDM and Stable Audio 3 down to samples, ACE-Step up to steps."""
    stable_audio, ace_step = (
        next(one for one in AUDIO_FAMILIES if name in one.pipelines)
        for name in ("StableAudio3Pipeline", "AceStepPipeline")
    )
    config = SimpleNamespace(sampling_rate=44100)
    pipe = SimpleNamespace(vae=SimpleNamespace(config=config, downsampling_ratio=4096))
    seconds = stable_audio.arguments(pipe, torch.Size([8, steps]))["duration"]
    assert int(seconds * 44100) == steps * 4096
    pipe = SimpleNamespace(sample_rate=48000, latents_per_second=25.0)
    seconds = ace_step.arguments(pipe, torch.Size([8, steps]))["audio_duration"]
    assert math.ceil(seconds * 25.0) == steps


def test_given_embeddings_take_the_place_of_prompts(wan):
    embeds, _ = wan.pipe.encode_prompt("a cat", max_sequence_length=16)
    call = {**wan.call, "prompt_embeds": embeds, "guidance_scale": 1.0}
    model = dataclasses.replace(wan, call=call)
    plain = dataclasses.replace(wan, call={**wan.call, "guidance_scale": 1.0})
    x, level = torch.randn(1, *wan.sample_shape), wan.schedule.level(torch.tensor([500.0]))
    given = model.predict_noise(x, level, model.encode_prompts(["a dog"]))
    assert torch.equal(given, plain.predict_noise(x, level, plain.encode_prompts(["a cat"])))


def test_record_steps_counts_every_step(wan):
    assert len(record_steps(wan, "a cat")) == 4
