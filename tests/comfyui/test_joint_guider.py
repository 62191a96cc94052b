"""The joint guider beside a fake of ComfyUI: each model alone at scale 0, a plain loop at scale 1,
a given side, and what is left of a run that failed."""

from itertools import pairwise

import pytest
import torch
from closeness import assert_close
from fakecomfy import CFGGuider, KSampler, NestedTensor, euler, euler_cfg_pp, two_step
from fakemodels import CONST, EPS, TEXT, Agreement, Model, ModelPatcher

from mmdisco import AV, NoiseLevel, UserError

SHAPES = AV((2, 5, 7), (2, 3, 4, 2, 2))
FLOW = torch.tensor([1.0, 0.8, 0.5, 0.2, 0.0])
EXPLODING = torch.tensor([20.0, 6.0, 2.0, 0.5, 0.0])
CFG = AV(3.0, 2.0)


def randn(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def conditioning(seed):
    return [(randn((1, 3, TEXT), seed), {})]


CONDS = AV((conditioning(1), conditioning(2)), (conditioning(3), conditioning(4)))
NOISE = AV(randn(SHAPES.audio, 5), randn(SHAPES.video, 6))


def models_of(audio=CONST, video=CONST, **facts):
    return AV(Model(audio(), 0.5, 0.1), Model(video(), 2.0, -0.3, **facts))


def guider_of(pack, models, scale=1.0, discriminator=None, every=1, **interval):
    side = pack.guider.SideGuidance
    guidance = CFG.map(lambda cfg: side(scale, cfg, **interval))
    return pack.guider.JointGuider(models.map(ModelPatcher), CONDS, guidance, discriminator, every)


def sampled(guider, sigmas, function=euler, latents=None, mask=None, callback=None):
    """What the guider makes in ComfyUI's inference mode."""
    latents = SHAPES.map(torch.zeros) if latents is None else latents
    with torch.inference_mode():
        out = guider.sample(
            NestedTensor([NOISE.video, NOISE.audio]),
            NestedTensor([latents.video, latents.audio]),
            KSampler(function),
            sigmas,
            denoise_mask=mask,
            callback=callback,
            seed=0,
        )
    video, audio = out.unbind()
    return AV(audio, video)


def alone(side, models, sigmas, function=euler):
    """What ComfyUI's own guider makes with one model."""
    pick = lambda pair: getattr(pair, side)  # noqa: E731
    guider = CFGGuider(ModelPatcher(pick(models)))
    guider.set_conds(*pick(CONDS))
    guider.set_cfg(pick(CFG))
    empty = torch.zeros(pick(SHAPES))
    return guider.sample(pick(NOISE), empty, KSampler(function), sigmas, seed=0)


@pytest.mark.parametrize("function", [euler, two_step])
@pytest.mark.parametrize("family", [(CONST, FLOW), (EPS, EXPLODING)])
def test_at_scale_0_each_model_makes_what_it_makes_alone_to_the_bit(pack, family, function):
    kind, sigmas = family
    models = models_of(kind, kind)
    discriminator = Agreement()
    both = sampled(guider_of(pack, models, 0.0, discriminator), sigmas, function)
    assert torch.equal(both.video, alone("video", models, sigmas, function))
    assert torch.equal(both.audio, alone("audio", models, sigmas, function))
    assert discriminator.seen == []


@pytest.mark.parametrize(
    ("audio", "video", "sigmas", "own"),
    [
        (EPS, CONST, [0.9, 0.6, 0.3, 0.0], lambda s: s / (1 - s)),
        (CONST, EPS, [9.0, 1.5, 0.4, 0.0], lambda s: s / (1 + s)),
    ],
)
def test_models_of_two_families_meet_at_the_same_ratio(pack, audio, video, sigmas, own):
    models, sigmas = models_of(audio, video), torch.tensor(sigmas)
    both = sampled(guider_of(pack, models, 0.0), sigmas)
    assert torch.equal(both.video, alone("video", models, sigmas))
    assert_close(both.audio, alone("audio", models, own(sigmas)))


def test_above_the_largest_sigma_of_a_model_it_is_evaluated_there(pack):
    models = models_of(EPS, CONST)
    made = sampled(guider_of(pack, models, 1.0, Agreement()), FLOW)
    assert made.audio.isfinite().all()
    assert made.video.isfinite().all()


def plain_loop(models, sigmas, discriminator, scale):
    """Euler on both in flow units, with ε̂ − s σ ∇h at every step."""
    text = CONDS.map(lambda both: both[0][0][0].mean(1).expand(2, -1))
    units = models.map(lambda model: model.model_sampling)

    def guided(side, x, sigma):
        model, both, cfg = (getattr(pair, side) for pair in (models, CONDS, CFG))
        model.loaded, t = True, sigma
        if isinstance(model.model_sampling, EPS):
            x, t = x / (1 - sigma), sigma / (1 - sigma)
        cond, null = (model.denoised(x, t.expand(2), one) for one in both)
        return null + cfg * (cond - null)

    assert isinstance(units.video, CONST)
    x = NOISE.map(lambda noise: sigmas[0] * noise)
    for sigma, after in pairwise(sigmas):
        leaves = x.map(lambda one: one.clone().requires_grad_())
        level = NoiseLevel(sigma.expand(2), (1 - sigma).expand(2), sigma.expand(2))
        logit = discriminator(leaves, AV(level, level), text).sum()
        gradient = AV(*torch.autograd.grad(logit, (leaves.audio, leaves.video)))
        steps = {}
        for side in ("audio", "video"):
            own, slope = getattr(x, side), getattr(gradient, side)
            eps = (own - (1 - sigma) * guided(side, own, sigma)) / sigma
            eps = eps - scale * sigma * slope
            x_0 = (own - sigma * eps) / (1 - sigma)
            steps[side] = (1 - after) * x_0 + after * eps
        x = AV(**steps)
    return AV(models.audio.process_latent_out(x.audio), models.video.process_latent_out(x.video))


@pytest.mark.parametrize("audio", [CONST, EPS])
def test_with_a_discriminator_it_is_the_plain_loop(pack, audio):
    models, sigmas = models_of(audio), torch.tensor([0.9, 0.7, 0.4, 0.2, 0.0])
    discriminator = Agreement()
    expected = plain_loop(models, sigmas, discriminator, 1.5)
    made = sampled(guider_of(pack, models, 1.5, discriminator), sigmas)
    assert_close(made.audio, expected.audio, 1e-4)
    assert_close(made.video, expected.video, 1e-4)
    unguided = sampled(guider_of(pack, models, 0.0), sigmas)
    assert (made.video - unguided.video).abs().max() > 0.01 * unguided.video.abs().max()


def test_either_side_has_its_own_scale(pack):
    models = models_of()
    side = pack.guider.SideGuidance
    guidance = AV(side(2.0, CFG.audio), side(0.0, CFG.video))
    patchers = models.map(ModelPatcher)
    guider = pack.guider.JointGuider(patchers, CONDS, guidance, Agreement())
    made = sampled(guider, FLOW)
    assert torch.equal(made.video, alone("video", models, FLOW))
    assert not torch.equal(made.audio, alone("audio", models, FLOW))


def test_guidance_keeps_to_its_interval_and_to_every_second_evaluation(pack):
    discriminator, sigmas = Agreement(), torch.tensor([0.9, 0.7, 0.5, 0.3, 0.1, 0.0])
    sampled(guider_of(pack, models_of(), 1.0, discriminator, start=0.25, stop=0.75), sigmas)
    assert [level.video for level in discriminator.seen] == pytest.approx([0.7, 0.5, 0.3])
    discriminator.seen.clear()
    sampled(guider_of(pack, models_of(), 1.0, discriminator, every=2), sigmas)
    assert [level.video for level in discriminator.seen] == pytest.approx([0.9, 0.5, 0.1])


@pytest.mark.parametrize("side", ["audio", "video"])
def test_a_given_side_stays_as_it_is_and_is_seen_without_noise(pack, side):
    models, discriminator = models_of(EPS, CONST), Agreement()
    given = SHAPES.map(lambda shape: randn(shape, 7))
    other = "video" if side == "audio" else "audio"
    masks = SHAPES.map(lambda shape: torch.ones(shape)[:, :1])
    getattr(masks, side).zero_()
    latents = AV(**{side: getattr(given, side), other: torch.zeros(getattr(SHAPES, other))})
    mask = NestedTensor([masks.video, masks.audio])
    made = sampled(guider_of(pack, models, 1.0, discriminator), FLOW, euler, latents, mask)
    assert torch.equal(getattr(made, side), getattr(given, side))
    assert {getattr(level, side) for level in discriminator.seen} == {0.0}
    assert getattr(models, side).calls == 0
    assert getattr(models, other).calls == 2 * (len(FLOW) - 1)
    unguided = sampled(guider_of(pack, models, 0.0), FLOW, euler, latents, mask)
    assert not torch.equal(getattr(made, other), getattr(unguided, other))


def test_a_mask_of_the_video_alone_keeps_its_part(pack):
    models, latents = models_of(), AV(torch.zeros(SHAPES.audio), randn(SHAPES.video, 8))
    mask = torch.ones(SHAPES.video)[:1, :1]
    mask[:, :, 0] = 0
    guider = guider_of(pack, models, 1.0, Agreement())
    made = sampled(guider, FLOW, euler, latents, mask)
    joined = NestedTensor([mask, torch.ones(SHAPES.audio)[:, :1]])
    assert torch.equal(sampled(guider, FLOW, euler, latents, joined).video, made.video)
    assert_close(made.video[:, :, 0], latents.video[:, :, 0])
    assert not torch.allclose(made.video[:, :, 1:], latents.video[:, :, 1:])


@pytest.mark.parametrize("side", ["audio", "video"])
def test_an_error_of_one_model_frees_everything(pack, side):
    models, discriminator = models_of(), Agreement()
    getattr(models, side).fails_at = 3
    guider = guider_of(pack, models, 1.0, discriminator)
    with pytest.raises(RuntimeError, match="the model failed"):
        sampled(guider, FLOW)
    assert not models.audio.loaded
    assert not models.video.loaded
    for one in (guider, guider.audio):
        assert not {"inner_model", "conds", "loaded_models"} & vars(one).keys()
    getattr(models, side).fails_at = None
    assert torch.equal(
        sampled(guider, FLOW).video,
        sampled(guider_of(pack, models_of(), 1.0, discriminator), FLOW).video,
    )


def test_both_models_are_loaded_at_once(pack):
    guider = guider_of(pack, models_of())
    assert guider.model_patcher.additional == {"mmdisco": [guider.audio.model_patcher]}


def test_a_callback_is_shown_both_and_the_result_scales_each_for_itself(pack):
    models, shown = models_of(), []
    made = sampled(
        guider_of(pack, models), FLOW, callback=lambda step, x0, x, total: shown.append((step, x0))
    )
    assert [step for step, _ in shown] == [0, 1, 2, 3]
    # as SamplerCustomAdvanced makes its denoised output
    video, audio = models.video.process_latent_out(shown[-1][1].cpu()).unbind()
    assert_close(video, made.video)
    assert_close(audio, made.audio)


def test_mistakes_are_said_in_one_line(pack):
    guider = guider_of(pack, models_of(), 1.0, Agreement())
    with pytest.raises(UserError, match="without cfg_pp"):
        sampled(guider, FLOW, euler_cfg_pp)
    zeros = NestedTensor([torch.zeros(1, 1, 4, 2, 2), torch.zeros(1, 1, 7)])
    with pytest.raises(UserError, match="video and sound are both given"):
        sampled(guider, FLOW, mask=zeros)
    with pytest.raises(UserError, match="a latent of one modality"):
        guider.sample(NOISE.video, NOISE.video, KSampler(euler), FLOW)
    with pytest.raises(UserError, match="2 videos and 1 sounds"):
        sampled(guider, FLOW, latents=AV(NOISE.audio[:1], NOISE.video))
    scaled = models_of()
    scaled.audio.model_sampling.noise_scale = 2.0
    with pytest.raises(UserError, match="scaled noise"):
        sampled(guider_of(pack, scaled), FLOW)


def test_no_steps_change_nothing(pack):
    latent = NestedTensor([NOISE.video, NOISE.audio])
    guider = guider_of(pack, models_of())
    assert guider.sample(latent, latent, KSampler(euler), torch.zeros(0)) is latent


def test_a_caption_is_the_mean_over_its_words(pack):
    states = randn((1, 4, TEXT), 9)
    states[:, 3] = 0
    mean = pack.guider.caption([(states, {})])
    assert_close(mean, states[:, :3].mean(1))
    mask = torch.tensor([[1, 1, 0, 0]])
    assert_close(pack.guider.caption([(states, {"attention_mask": mask})]), states[:, :2].mean(1))
