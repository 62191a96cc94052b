"""Placement: latents, levels, captions and networks meet on one device and in one number format.

The meta device stands in for another one: an operation on tensors of both raises, as on a GPU.
"""

import pytest
import torch
from closeness import RTOL, assert_close
from jointly import Agreement, call_of, latents_of, pair
from stockpipelines import build

from mmdisco.adapters.stock.model import stock_audio, stock_video, to_bytes
from mmdisco.core.av import AV
from mmdisco.core.denoiser import Conditioning, JointDenoiser
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.guidance import ClassifierFreeGuidance, ConstantScale, JointGuidance
from mmdisco.core.log_ratio import log_ratio_gradient
from mmdisco.core.noise import NoiseLevel
from mmdisco.core.parameterization import CleanSample, Epsilon, FlowVelocity, VPrediction
from mmdisco.discriminators.two_tower import AudioVideoDiscriminator
from mmdisco.generation.guider import GivenSide
from mmdisco.generation.joint_pipeline import JointPipeline
from mmdisco.generation.pipeline_side import changed_output
from mmdisco.testing import record_steps, run_alone
from mmdisco.training.config import DiscriminatorConfig
from mmdisco.training.discriminator_config import build_discriminator_config

SHAPES = AV(torch.Size((4, 8, 16)), torch.Size((4, 4, 8, 8)))
HALF = NoiseLevel(*(torch.full((2,), 0.6, dtype=torch.float64) for _ in range(3)))
FORMATS = [torch.bfloat16, torch.float16]


def latents(device="meta", dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return SHAPES.map(lambda shape: torch.randn(2, *shape, generator=generator).to(device, dtype))


def captions(device="meta"):
    return AV(*(torch.ones(2, 6, device=device) for _ in range(2)))


def two_tower(fusion, device="meta"):
    config = build_discriminator_config(
        DiscriminatorConfig(fusion=fusion, width=16), SHAPES, AV(6, 6), AV(8.0, 4.0)
    )
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(0)
        return AudioVideoDiscriminator(config).eval().requires_grad_(requires_grad=False)


class Halved(JointDenoiser):
    def predict_noise(self, z_t, level, cond):
        return z_t.map(lambda x: x / 2)


@pytest.mark.parametrize(
    "prediction", [Epsilon(), CleanSample(), VPrediction(), FlowVelocity()], ids=type
)
@pytest.mark.parametrize("dtype", [torch.float32, *FORMATS])
def test_levels_follow_the_latent(prediction, dtype):
    """Levels are float64 on the CPU; whatever they scale stays where and as it is."""
    x = latents(dtype=dtype).video
    for made in (
        prediction.to_eps(x, x, HALF),
        prediction.from_eps(x, x, HALF),
        HALF.add_noise(x, x),
        HALF.to_vp(x),
        HALF.predict_x0(x, x),
    ):
        assert (made.device, made.dtype) == (x.device, dtype)


@pytest.mark.parametrize("fusion", ["additive", "attention", "attention+correlation", "pooled"])
def test_a_discriminator_runs_where_its_weights_are(fusion):
    z_t, level, text = latents(), AV(HALF, HALF), captions()
    found = log_ratio_gradient(lambda z: two_tower(fusion)(z, level, text), z_t)
    assert found.logit.is_meta
    assert found.gradient.audio.shape == z_t.audio.shape
    assert found.gradient.audio.is_meta
    assert found.gradient.video.is_meta


def test_guidance_of_both_kinds_runs_there_too():
    cond = captions().map(Conditioning)
    null = cond.map(lambda one: Conditioning(one.pooled[:1]))
    base = ClassifierFreeGuidance(Halved(), null, AV(2.0, 3.0), rescale=0.5)
    scales = AV(ConstantScale(), ConstantScale())
    guidance = JointGuidance(base, two_tower("attention"), scales)
    eps = guidance.predict_noise(latents(), AV(HALF, HALF), cond)
    assert eps.audio.is_meta
    assert eps.video.is_meta


def test_a_given_side_and_the_latent_of_a_guider_share_a_device():
    given = GivenSide(two_tower("attention"), AV(latents().audio, None), captions())
    assert given.gradient(latents().video, HALF).is_meta


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("fusion", ["attention", "attention+correlation"])
def test_autocast_leaves_gradients_in_single_precision(fusion, dtype):
    discriminator = two_tower(fusion, "cpu")
    for parameter in discriminator.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    z_t, level, text = latents("cpu"), AV(HALF, HALF), captions("cpu")

    def gradient():
        found = log_ratio_gradient(lambda z: discriminator(z, level, text), z_t).gradient
        return torch.cat([found.audio.flatten(), found.video.flatten()])

    whole = gradient()
    with torch.autocast("cpu", dtype):
        low = gradient()
    assert low.dtype == torch.float32
    assert low.isfinite().all()
    assert 0 < float((low - whole).norm() / whole.norm()) < 0.1


@pytest.fixture(scope="module")
def models():
    return pair("wan", "stable audio 3")


@pytest.mark.parametrize("name", ["wan", "animatediff", "audioldm"])
def test_a_stock_model_runs_where_its_pipeline_is(name):
    """Its text encoders look at numbers, so the prompts come as embeddings."""
    pipe, call = build(name)
    call.pop("prompt")
    make = stock_audio if name == "audioldm" else stock_video
    width = make(pipe, call).encode_prompts(["a"]).pooled.shape[1]
    embeds = torch.empty(1, *([] if name == "audioldm" else [16]), width, device="meta")
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.to("meta")
    call.pop("negative_prompt")
    call |= {f"{one}prompt_embeds": embeds for one in ("", "negative_")}
    model = make(pipe, call)
    x_t = torch.empty(2, *model.sample_shape, device="meta")
    level = model.schedule.level(model.schedule.times[[300, 600]])
    eps = model.predict_noise(x_t, level, Conditioning(torch.zeros(2, 1), (to_bytes(["", ""]),)))
    assert eps.is_meta
    assert eps.shape == x_t.shape


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("side", ["audio", "video"])
def test_the_probe_equals_the_run_under_autocast(models, side, dtype):
    model = getattr(models, side)
    with torch.autocast("cpu", dtype):
        visit = record_steps(model, "a dog")[2]
        x_t, output = (
            model.family.layout.to_core(model.pipe, one, model.sample_shape).float()
            for one in (visit.sample, visit.output)
        )
        probed = model.predict_noise(x_t, visit.level, model.encode_prompts(["a dog"]))
    assert probed.dtype == torch.float32
    eps = model.levels.prediction.to_eps(output, x_t, visit.level)
    if dtype == torch.bfloat16:
        assert torch.equal(probed, eps)
    assert_close(probed, eps, RTOL[dtype])


class SeenError(Exception):
    pass


class Elsewhere(Discriminator):
    """Weights on another device; what it is given is noted, and the run ends.

    Levels stay on the CPU, as everywhere.
    """

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(1, device="meta"))
        self.given = []

    def forward(self, z_t, level, text):
        self.given = [z_t.audio, z_t.video, text.audio, text.video]
        raise SeenError


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_joint_run_takes_latents_and_captions_to_the_discriminator(dtype):
    models = pair("wan", "stable audio 3")
    for model in (models.audio, models.video):
        model.pipe.to(dtype)
    discriminator = Elsewhere()
    joint = JointPipeline(models.video.pipe, models.audio.pipe, discriminator)
    with pytest.raises(SeenError):
        joint("a dog", **call_of(models))
    assert len(discriminator.given) == 4
    assert all(one.is_meta for one in discriminator.given)
    assert all(one.dtype == torch.float32 for one in discriminator.given)


@pytest.mark.parametrize("dtype", [torch.float32, *FORMATS])
def test_a_change_returns_to_the_output_it_changes(dtype):
    level, change = HALF.at(0), torch.ones(1, 3)
    output = torch.empty(1, 3, device="meta", dtype=dtype)
    changed = changed_output(FlowVelocity(), output, change, level)
    assert (changed.is_meta, changed.dtype) == (True, dtype)


def test_float16_autocast_reaches_both_pipelines_and_not_the_discriminator(models):
    agreement, seen = Agreement(models), []
    joint = JointPipeline(models.video.pipe, models.audio.pipe, agreement)
    agreement.register_forward_hook(lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    with torch.autocast("cpu", torch.float16):
        unguided = latents_of(joint("a dog", joint_scale=0, **call_of(models)))
        alone = models.map(lambda model: run_alone(model, "a dog"))
        guided = latents_of(joint("a dog", **call_of(models)))
    assert torch.equal(unguided[0], alone.audio)
    assert torch.equal(unguided[1], alone.video)
    assert seen
    assert not any(seen)
    assert all(one.isfinite().all() for one in guided)
    assert not torch.equal(guided[0], unguided[0])
