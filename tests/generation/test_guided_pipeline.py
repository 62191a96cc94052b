"""LTX-2, which makes video with sound by itself, as a joint model and guided by a discriminator."""

import dataclasses
import inspect
import itertools
from fractions import Fraction

import diffusers
import numpy as np
import pytest
import torch
from closeness import assert_close
from jointly import Agreement
from stockpipelines import build

from mmdisco import UserError
from mmdisco.adapters.stock.families import VIDEO, family_of
from mmdisco.adapters.stock.joint import stock_joint
from mmdisco.core.av import AV, each
from mmdisco.core.coupling import SameTimestep
from mmdisco.core.guidance import ConstantScale
from mmdisco.core.losses import MMDisCoLoss, NoisedPairs
from mmdisco.core.noise import NoiseLevel
from mmdisco.core.pairs import Pairs
from mmdisco.core.sampler import Sampler
from mmdisco.core.schedulers import solver
from mmdisco.data.fake_pairs import fake_shard
from mmdisco.generation.guided_pipeline import GuidedPipeline
from mmdisco.generation.pipeline import (
    GenerationRun,
    JointGeneration,
    SamplerConfig,
    VideoToAudio,
    generate,
)
from mmdisco.media.clip import Audio, Video

PROMPT = "a dog barks"
STEPS = 4


@pytest.fixture(scope="module")
def model():
    pipe, call = build("ltx-2")
    del call["prompt"]
    return stock_joint(pipe, {**call, "num_inference_steps": STEPS})


class JointAgreement(Agreement):
    """``Agreement`` of a joint model's latents."""

    def __init__(self, model):
        sides = AV(*(Side(model, side) for side in ("audio", "video")))
        super().__init__(sides)


class Side:
    """One side of a joint model, as ``Agreement`` reads it."""

    def __init__(self, model, side):
        self.encode_prompts = lambda prompts: getattr(model.encode_prompts(prompts), side)
        self.sample_shape = getattr(model.sample_shapes, side)


@pytest.fixture(scope="module")
def guided(model):
    return GuidedPipeline(model.pipe, JointAgreement(model))


def run(call, make, seed=0, **given):
    generator = torch.Generator().manual_seed(seed)
    out = make(PROMPT, **{**call, "generator": generator, "output_type": "latent", **given})
    return AV(out.audio, out.frames)


@pytest.fixture(scope="module")
def visits(model):
    """Every step of the pipeline's own run: arguments of ``step`` and its scheduler before it."""
    kind, seen = type(model.pipe.scheduler), []
    plain = kind.step

    def step(self, *given, **named):
        bound = inspect.signature(plain).bind(self, *given, **named).arguments
        seen.append((float(self.sigmas[self.step_index or 0]), bound))
        return plain(self, *given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "step", step)
        run(model.call, model.pipe)
    assert len(seen) == 2 * STEPS
    return [AV(seen[i + 1], seen[i]) for i in range(0, len(seen), 2)]


def unpacked(model, visit, name):
    return model.to_core(visit.map(lambda own: own[1][name]), model.sample_shapes)


def flow(*times):
    """Levels of a flow at these times of 0 to 1000."""
    t = torch.tensor(times, dtype=torch.float64)
    return NoiseLevel(t, 1 - t / 1000, t / 1000)


def level_of(visit):
    sigma, arguments = visit.video
    sigma, t = (
        torch.tensor([float(one)], dtype=torch.float64) for one in (sigma, arguments["timestep"])
    )
    return NoiseLevel(t, 1 - sigma, sigma)


@pytest.mark.parametrize("step", [0, 2, -1])
def test_the_probe_equals_the_run(model, visits, step):
    level = level_of(visits[step])
    x, output = (unpacked(model, visits[step], name) for name in ("sample", "model_output"))
    found = model.predict_noise(x, AV(level, level), model.encode_prompts([PROMPT]))
    to_eps = model.levels.prediction.to_eps
    assert torch.equal(found.audio, to_eps(output.audio, x.audio, level))
    assert torch.equal(found.video, to_eps(output.video, x.video, level))


def test_at_scale_0_the_run_is_the_pipelines_own(model, guided):
    alone, made = run(model.call, model.pipe), run(model.call, guided, joint_scale=0)
    assert torch.equal(made.audio, alone.audio)
    assert torch.equal(made.video, alone.video)


def test_a_guided_run_repeats_to_the_bit_and_leaves_the_pipeline_as_it_was(model, guided):
    alone = run(model.call, model.pipe)
    before = dict(vars(model.pipe))
    first, again = (run(model.call, guided) for _ in range(2))
    assert torch.equal(first.audio, again.audio)
    assert torch.equal(first.video, again.video)
    assert not torch.equal(first.audio, alone.audio)
    assert not torch.equal(first.video, alone.video)
    assert vars(model.pipe).keys() == before.keys()
    assert not {"step", "__deepcopy__"} & vars(model.pipe.scheduler).keys()


@pytest.mark.parametrize("side", ["audio", "video"])
def test_a_scale_of_one_side_changes_it_and_the_other_through_the_transformer(model, guided, side):
    alone = run(model.call, model.pipe)
    scale = AV(*(float(own == side) for own in ("audio", "video")))
    made = run({**model.call, "num_inference_steps": 2}, guided, joint_scale=scale)
    bare = run({**model.call, "num_inference_steps": 2}, model.pipe)
    other = "audio" if side == "video" else "video"
    # the second and last step is the first that is guided: the other side has not seen it
    assert torch.equal(getattr(made, other), getattr(bare, other))
    assert not torch.equal(getattr(made, side), getattr(bare, side))
    made = run(model.call, guided, joint_scale=scale)
    assert not torch.equal(getattr(made, other), getattr(alone, other))


def test_a_guided_run_is_the_plain_loop(model, guided, visits):
    """The loop written out: predict both, add the gradient, an Euler step of the flow."""
    made = run(model.call, guided)
    cond = model.encode_prompts([PROMPT])
    text = cond.map(lambda one: one.pooled)
    sigmas = [visit.video[0] for visit in visits] + [0.0]
    x = unpacked(model, visits[0], "sample")
    for sigma, after in itertools.pairwise(sigmas):
        level = flow(1000 * sigma)
        levels = AV(level, level)
        eps = model.predict_noise(x, levels, cond)
        if sigma < 0.999:  # pure noise is not guided
            leaves = x.map(lambda own: own.detach().requires_grad_())
            logit = guided.discriminator(leaves, levels, text).sum()
            gradient = torch.autograd.grad(logit, (leaves.audio, leaves.video))
            eps = each(lambda own, change, s=sigma: own - s * change, eps, AV(*gradient))
            velocity = each(lambda own, at, s=sigma: (own - at) / (1 - s), eps, x)
        else:
            velocity = unpacked(model, visits[0], "model_output")
        x = each(lambda at, v, step=after - sigma: at + step * v, x, velocity)
    # a pipeline returns latents without their normalization
    pipe, sound = model.pipe, model.pipe.audio_vae
    packed = pipe._denormalize_audio_latents(
        model.to_step(x).audio, sound.latents_mean, sound.latents_std
    )
    audio = pipe._unpack_audio_latents(packed, *x.audio.shape[2:])
    video = pipe._denormalize_latents(x.video, pipe.vae.latents_mean, pipe.vae.latents_std)
    assert_close(made.audio, audio, rtol=1e-4)
    assert_close(made.video, video, rtol=1e-4)


def test_samples_are_predicted_as_each_by_itself_at_levels_of_their_own(model):
    shapes = model.sample_shapes
    z = shapes.map(lambda shape: torch.randn(3, *shape))
    level = AV(flow(700.0, 700.0, 0.0), flow(700.0, 300.0, 500.0))
    cond = model.encode_prompts([PROMPT, "", "rain on a tin"])
    together = model.predict_noise(z, level, cond)
    assert not together.audio[2].any()  # clean
    for row in range(3):
        alone = model.predict_noise(
            z.map(lambda x, row=row: x[row : row + 1]),
            level.map(lambda own, row=row: own.at(row)),
            cond.map(lambda one, row=row: one.take(torch.tensor([row]))),
        )
        assert_close(alone.video[0], together.video[row], rtol=1e-5)
        if row < 2:
            assert_close(alone.audio[0], together.audio[row], rtol=1e-5)


def test_either_side_reads_the_other_at_its_own_level(model):
    z, cond = (
        model.sample_shapes.map(lambda shape: torch.randn(1, *shape)),
        model.encode_prompts([""]),
    )

    def at(audio, video):
        return model.predict_noise(z, AV(flow(audio), flow(video)), cond)

    assert not torch.equal(at(300, 500).video, at(400, 500).video)
    assert not torch.equal(at(300, 500).audio, at(300, 600).audio)


@pytest.mark.parametrize("name", ["modality_scale", "guidance_scale", "stg_scale"])
def test_its_own_guidance_is_that_of_the_call(model, name):
    z, cond = (
        model.sample_shapes.map(lambda shape: torch.randn(1, *shape)),
        model.encode_prompts(["a"]),
    )
    level = flow(500.0)
    other = dataclasses.replace(model, call={**model.call, name: 6.0})
    one, more = (own.predict_noise(z, AV(level, level), cond).video for own in (model, other))
    assert not torch.equal(one, more)


def clip(model, seed=0):
    generator = np.random.default_rng(seed)
    frames = generator.random((5, 32, 32, 3), dtype=np.float32)
    sound = generator.uniform(-1, 1, round(16000 * 5 / 24)).astype(np.float32)
    return Audio(sound, 16000), Video(frames, Fraction(24))


def test_clips_are_encoded_and_decoded(model):
    audio, video = clip(model)
    z = AV(model.encode_audio([audio]), model.encode_video([video]))
    shapes = model.latent_shapes(5 / 24)
    assert shapes == model.sample_shapes == z.map(lambda x: x.shape[1:])
    (shown,), (heard,) = model.decode_video(z.video), model.decode_audio(z.audio)
    assert shown.frames.shape == video.frames.shape
    assert shown.fps == 24
    # a causal decoder makes one column of its first step, and the vocoder 80 samples a column
    assert (len(heard.waveform), heard.sample_rate) == (80 * (4 * shapes.audio[1] - 3), 8000)
    with torch.no_grad():
        decoded = model.pipe.vae.decode(
            model.pipe._denormalize_latents(
                z.video, model.pipe.vae.latents_mean, model.pipe.vae.latents_std
            )
        ).sample
    assert_close(torch.from_numpy(shown.frames), (decoded[0] / 2 + 0.5).clamp(0, 1).movedim(0, -1))


def test_what_the_sound_is_encoded_from_is_a_log_mel_spectrogram(model):
    """A tone of 1 kHz is loudest in the filter around it, and normalised as the latents are."""
    seen = []
    vae = model.pipe.audio_vae
    hook = vae.encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    tone = np.sin(2 * np.pi * 1000 * np.arange(round(16000 * 5 / 24)) / 16000).astype(np.float32)
    model.encode_audio([Audio(tone, 16000)])
    hook.remove()
    (mel,) = seen
    assert mel.shape == (1, 2, 17, 8)
    assert torch.equal(mel[:, 0], mel[:, 1])
    assert set(mel[0, 0, 4:-4].argmax(1).tolist()) == {2}  # 8 filters of 0 to 8 kHz in mel
    assert mel.min() >= np.log(np.float32(1e-5))


@pytest.mark.parametrize(
    ("samples", "rate", "message"), [(3333, 24000, "encodes 16000"), (300, 16000, "more than 512")]
)
def test_a_sound_that_does_not_fit_is_one_line(model, samples, rate, message):
    sound = Audio(np.zeros(samples, np.float32), rate)
    with pytest.raises(UserError, match=message):
        model.encode_audio([sound])


def test_other_pipelines_are_told_where_they_belong(model):
    wan, _ = build("wan")
    with pytest.raises(UserError, match="WanPipeline is no joint model"):
        stock_joint(wan)
    with pytest.raises(UserError, match="to --joint-model"):
        family_of(model.pipe, VIDEO)
    with pytest.raises(UserError, match=r"ask for 0.208333 or 0.375"):
        model.latent_shapes(0.3)
    own = type("MyLTX2", (diffusers.LTX2Pipeline,), {})
    assert (
        stock_joint(own(**model.pipe.components), model.call).sample_shapes == model.sample_shapes
    )


def test_a_bill_counts_what_a_guided_run_does(model, guided):
    before = run(model.call, guided)
    cost = guided.cost(PROMPT, **model.call)
    passes = {(one.side, one.name): one.passes for one in cost.networks}
    ran, hook = [], model.pipe.transformer.register_forward_pre_hook(lambda *_: ran.append(1))
    after = run(model.call, guided)
    hook.remove()
    assert passes["joint", "transformer"] == len(ran)
    assert passes["discriminator", "discriminator"] == STEPS
    assert cost.steps == AV(STEPS, STEPS)
    assert cost.discriminator_share > 0
    assert torch.equal(before.video, after.video)
    unguided = guided.cost(PROMPT, joint_scale=0, **model.call)
    assert unguided.discriminator_share == 0


def test_the_path_of_a_sampler_is_that_of_the_pipelines_own_run(model, visits):
    """Dynamic shifting follows from the number of tokens."""
    shift = model.shift
    assert shift > 1
    for sigma in (float(visit.video[0]) for visit in visits):
        plain = sigma / (shift - (shift - 1) * sigma)
        level = SameTimestep(model.schedules, AV(shift, shift)).levels(torch.tensor([plain]))
        assert float(level.video.sigma) == pytest.approx(sigma, abs=2e-3)


def test_a_discriminator_learns_from_its_own_fakes_and_guides_it(model):
    """Fakes by our sampler, real pairs whose means agree; then a joint run and a given video."""
    plain = {"guidance_scale": 1.0, "stg_scale": 0.0, "modality_scale": 1.0}
    plain |= {f"audio_{name}": one for name, one in plain.items()}
    plain |= {"audio_stg_scale": None, "spatio_temporal_guidance_blocks": None}
    base = dataclasses.replace(model, call={**model.call, **plain})
    discriminator, count = JointAgreement(base), 4
    euler = AV(solver("flow-euler"), solver("flow-euler"))
    sampler = Sampler(SameTimestep(base.schedules), euler, 3)
    cond = base.encode_prompts(["a dog", "rain"] * (count // 2))
    fake = fake_shard(base, sampler, cond, base.sample_shapes, seed=0, shard=0)
    generator = torch.Generator().manual_seed(0)
    common = torch.randn(count, 1, 1, 1, generator=generator).sign()
    real = Pairs(AV(fake.z_0.audio + 2 * common, fake.z_0.video + 2 * common[..., None]), cond)
    levels = SameTimestep(base.schedules).levels(torch.linspace(0.1, 0.6, count))
    eps = fake.z_0.map(lambda x: torch.randn(x.shape, generator=generator))
    noised = NoisedPairs(real, eps, levels), NoisedPairs(fake, eps, levels)
    loss, optimizer = MMDisCoLoss(), torch.optim.Adam(discriminator.parameters(), 0.02)
    totals = []
    for _ in range(4):
        total = loss.total(loss.losses(discriminator, base, *noised)).mean()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(float(total))
    assert totals[-1] < totals[0]
    settings = SamplerConfig(3, euler, AV(1.0, 1.0), AV(ConstantScale(), ConstantScale()))
    _, video = clip(base)
    for task in (JointGeneration(), VideoToAudio([video], [video])):
        made = GenerationRun(base, discriminator, settings, task, 5 / 24)
        (one,) = generate(made, [PROMPT], [0])
        assert len(one.video.frames) in (4, 5)
        assert one.audio.sample_rate == 8000
