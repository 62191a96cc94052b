"""Discriminator guidance in a modular pipeline and in a classic one that takes guiders."""

import pytest
import torch
from closeness import assert_close
from diffusers import ClassifierFreeGuidance
from diffusers.modular_pipelines import ModularPipelineBlocks, SequentialPipelineBlocks
from diffusers.modular_pipelines.wan.modular_blocks_wan import WanCoreDenoiseStep
from jointly import Agreement, pair
from stockpipelines import build

from mmdisco import AV, DiscriminatorGuidance, UserError
from mmdisco.core.noise import NoiseLevel
from mmdisco.generation.guidance_block import DiscriminatorGuidanceStep, save_block
from mmdisco.generation.guider import GivenSide
from mmdisco.testing import GuiderContract

STEPS = 4


@pytest.fixture(scope="module")
def models():
    return pair("wan", "stable audio 3")


@pytest.fixture(scope="module")
def given(models):
    generator = torch.Generator().manual_seed(3)
    sound = torch.randn(1, *models.audio.sample_shape, generator=generator)
    text = models.map(lambda model: model.encode_prompts(["a dog"]).pooled)
    return GivenSide(Agreement(models), AV(sound, None), text)


def run(models, guider, blocks=None, **inputs):
    """The latents of a modular Wan."""
    wan = models.video.pipe
    pipe = (blocks or WanCoreDenoiseStep()).init_pipeline()
    pipe.update_components(transformer=wan.transformer, scheduler=wan.scheduler, guider=guider)
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    embeds = torch.randn(2, 1, 16, 32, generator=generator)
    return pipe(
        prompt_embeds=embeds[0],
        negative_prompt_embeds=embeds[1],
        height=16,
        width=16,
        num_frames=9,
        num_inference_steps=STEPS,
        generator=torch.Generator().manual_seed(1),
        output="latents",
        **inputs,
    )


def attached(models, given, **numbers):
    return DiscriminatorGuidance(**numbers).attach(models.video.pipe.scheduler, given)


class TestDiscriminatorGuidance(GuiderContract):
    @pytest.fixture
    def build(self, models, given):
        return lambda *scales: attached(
            models, given, guidance_scale=scales[0], joint_scale=scales[1]
        )

    @pytest.fixture
    def sample(self, models):
        return lambda guider: run(models, guider)


def test_at_scale_0_nothing_needs_to_be_attached(models):
    plain = run(models, ClassifierFreeGuidance(guidance_scale=5.0))
    assert torch.equal(run(models, DiscriminatorGuidance(joint_scale=0.0)), plain)


def test_without_classifier_free_guidance_the_discriminator_still_guides(models, given):
    plain = run(models, ClassifierFreeGuidance(guidance_scale=1.0))
    assert not torch.equal(run(models, attached(models, given, guidance_scale=1.0)), plain)


def test_outside_start_and_stop_neither_guides(models, given):
    late = attached(models, given, start=0.5)
    early = attached(models, given, stop=0.5)
    whole = run(models, attached(models, given))
    assert not torch.equal(run(models, late), whole)
    assert not torch.equal(run(models, early), whole)
    none = run(models, ClassifierFreeGuidance(enabled=False))
    assert torch.equal(run(models, attached(models, given, enabled=False)), none)


@pytest.mark.parametrize("side", ["video", "audio"])
def test_the_change_is_the_gradient_in_the_networks_parameterization(models, given, side):
    """u = (ε − x) / (1 − σ) for a flow, so Δu = −s σ ∇h / (1 − σ)."""
    model, other = getattr(models, side), "audio" if side == "video" else "video"
    x_t = torch.randn(1, *model.sample_shape)
    x_0 = torch.randn(1, *getattr(models, other).sample_shape)
    latents = AV(x_0, None) if side == "video" else AV(None, x_0)
    beside = GivenSide(given.discriminator, latents, given.text)
    guider = DiscriminatorGuidance(1.0, joint_scale=0.5).attach(model.pipe.scheduler, beside)
    sigma, steps = 0.25, model.pipe.scheduler.config.num_train_timesteps
    guider.set_state(0, STEPS, torch.tensor(sigma * steps))
    guider._sample = x_t
    level = NoiseLevel(*(torch.tensor([one], dtype=torch.float64) for one in (0.0, 0.75, sigma)))
    expected = -0.5 * sigma / (1 - sigma) * beside.gradient(x_t, level)
    assert_close(guider.forward(torch.zeros_like(x_t)).pred, expected, rtol=1e-5)


@pytest.mark.parametrize("both", [True, False])
def test_one_modality_is_given(given, both):
    x_0 = given.x_0.audio if both else None
    with pytest.raises(UserError, match="give latents of one modality"):
        GivenSide(given.discriminator, AV(x_0, x_0), given.text)


def test_where_it_starts_and_stops_is_saved_and_loaded(tmp_path):
    DiscriminatorGuidance(3.0, 0.25, start=0.1, stop=0.9).save_pretrained(tmp_path)
    loaded = DiscriminatorGuidance.from_pretrained(tmp_path)
    assert (loaded.config["start"], loaded.config["stop"]) == (0.1, 0.9)


def test_what_is_missing_is_said(models, given):
    with pytest.raises(UserError, match="attach a scheduler"):
        run(models, DiscriminatorGuidance())
    pipe, call = build("hunyuan 1.5")
    pipe.guider = DiscriminatorGuidance(3.0).attach(pipe.scheduler, given)
    with pytest.raises(UserError, match="shows its guider no latents"):
        pipe(**call, num_inference_steps=2)


@pytest.fixture(scope="module")
def blocks(tmp_path_factory):
    """The block of a repository, before those of Wan."""
    folder = tmp_path_factory.mktemp("block")
    save_block(folder)
    step = ModularPipelineBlocks.from_pretrained(str(folder), trust_remote_code=True)
    assert isinstance(step, DiscriminatorGuidanceStep)
    return SequentialPipelineBlocks.from_blocks_dict(
        {"guidance": step, "denoise": WanCoreDenoiseStep()}
    )


def beside(given):
    return {
        "discriminator": given.discriminator,
        "audio_latents": given.x_0.audio,
        "audio_text": given.text.audio,
        "video_text": given.text.video,
    }


def test_a_block_from_a_repository_attaches_the_given_side(models, given, blocks):
    got = run(models, DiscriminatorGuidance(joint_scale=0.5), blocks, **beside(given))
    assert torch.equal(got, run(models, attached(models, given, joint_scale=0.5)))


def test_a_pipeline_with_the_block_has_the_guider_unasked(blocks):
    assert isinstance(blocks.init_pipeline().guider, DiscriminatorGuidance)


def test_the_block_refuses_another_guider(models, given, blocks):
    with pytest.raises(UserError, match="the guider is a ClassifierFreeGuidance"):
        run(models, ClassifierFreeGuidance(), blocks, **beside(given))


def test_the_block_reads_a_folder_and_says_what_is_missing(models, given, blocks, tmp_path):
    inputs = beside(given) | {"discriminator": str(tmp_path / "none")}
    with pytest.raises(UserError, match="none"):
        run(models, DiscriminatorGuidance(), blocks, **inputs)
