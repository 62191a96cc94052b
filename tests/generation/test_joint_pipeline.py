"""Two stock pipelines joined at their schedulers."""

import threading
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from jointly import Agreement, call_of, latents_of, pair
from peft import LoraConfig
from stockpipelines import build

from mmdisco import UserError
from mmdisco.core.av import AV
from mmdisco.core.coupling import SameTimestep
from mmdisco.core.denoiser import IndependentModels
from mmdisco.core.guidance import ConstantScale, IntervalScale
from mmdisco.core.log_ratio import ReuseEvery
from mmdisco.core.losses import MMDisCoLoss, NoisedPairs
from mmdisco.core.noise import NoiseLevel
from mmdisco.core.pairs import Pairs
from mmdisco.core.schedulers import solver
from mmdisco.data.pair_store import PairStore
from mmdisco.discriminators.convolutions import VideoLatents, WaveformLatents
from mmdisco.discriminators.two_tower import AudioVideoConfig, AudioVideoDiscriminator
from mmdisco.generation.joint_pipeline import JointPipeline
from mmdisco.generation.meeting import Meeting, SideState
from mmdisco.generation.pipeline import GenerationRun, JointGeneration, SamplerConfig, generate
from mmdisco.media.clip import Audio, Video
from mmdisco.testing import JointPipelineContract, run_alone

PROMPT = "a dog barks"


@pytest.fixture(scope="module")
def models():
    return pair("wan", "stable audio 3")


@pytest.fixture(scope="module")
def joint(models):
    return JointPipeline(models.video.pipe, models.audio.pipe, Agreement(models))


def made(joint, models, **given):
    return latents_of(joint(PROMPT, **{**call_of(models), **given}))


def same(one, other):
    return all(torch.equal(*both) for both in zip(one, other, strict=True))


def with_steps(models, audio, video):
    """The arguments of a call with these numbers of steps."""
    call = call_of(models)
    call["audio_kwargs"]["num_inference_steps"] = audio
    call["video_kwargs"]["num_inference_steps"] = video
    return call


def test_a_run_repeats_to_the_bit_and_the_scale_matters(joint, models):
    first = made(joint, models)
    assert same(first, made(joint, models))
    assert not same(first, made(joint, models, joint_scale=0.5))


@pytest.mark.parametrize(("side", "changed"), [("audio", 0), ("video", 1)])
def test_a_scale_is_that_of_its_side(joint, models, side, changed):
    alone = made(joint, models, joint_scale=0)
    scale = AV(1.0, 0.0) if side == "audio" else AV(0.0, 1.0)
    guided = made(joint, models, joint_scale=scale)
    assert not torch.equal(guided[changed], alone[changed])
    assert torch.equal(guided[1 - changed], alone[1 - changed])


def test_outside_its_interval_of_levels_the_scale_is_0(joint, models):
    never = IntervalScale(1.0, 100.0, 200.0)
    assert same(made(joint, models, joint_scale=never), made(joint, models, joint_scale=0))


def test_a_gradient_can_be_reused(joint, models):
    reusing = JointPipeline(joint.video, joint.audio, joint.discriminator, ReuseEvery(3))
    assert not same(made(reusing, models), made(joint, models))


def test_unequal_steps_leave_either_pipeline_as_it_is_at_scale_0(joint, models):
    call = with_steps(models, audio=7, video=3)
    audio, video = latents_of(joint(PROMPT, joint_scale=0, **call))
    call = with_steps(models, audio=7, video=3)
    alone = {
        side: getattr(joint, side)(PROMPT, output_type="latent", **call[f"{side}_kwargs"])[0]
        for side in ("audio", "video")
    }
    assert torch.equal(audio, alone["audio"])
    assert torch.equal(video, alone["video"])


def test_the_side_that_is_behind_steps_and_the_other_waits_where_it_is():
    """Two loops that add 1 a step, one in 2 steps and one in 4."""
    seen = []

    def correct(states):
        seen.append((float(states.audio.x_t), float(states.video.x_t)))
        return AV(None, None)

    meeting = Meeting(correct, AV(None, None))

    def loop(side, steps):
        x = torch.zeros(1, 1)
        for index in range(steps):
            meeting.arrive(side, SideState(x, NoiseLevel.clean(1), Fraction(index, steps)))
            x = x + 1
            meeting.stepped(side, x)
        return float(x)

    assert meeting.run(AV(lambda: loop("audio", 4), lambda: loop("video", 2))) == AV(4.0, 2.0)
    assert seen == [(0, 0), (1, 1), (2, 1), (3, 2)]


@pytest.mark.parametrize("stochastic", ["stable audio", "cogvideox dpm"])
def test_steps_that_add_noise_are_the_pipelines_own(stochastic):
    names = ("wan", stochastic) if stochastic == "stable audio" else (stochastic, "longcat")
    models = pair(*names)
    joint = JointPipeline(models.video.pipe, models.audio.pipe, Agreement(models))
    audio, video = made(joint, models, joint_scale=0)
    assert torch.equal(audio, run_alone(models.audio, PROMPT))
    assert torch.equal(video, run_alone(models.video, PROMPT))


def clip(models, seed=0):
    generator = np.random.default_rng(seed)
    frames = generator.random((9, 16, 16, 3), dtype=np.float32)
    seconds = models.video.seconds
    samples = round(seconds * models.audio.rate)
    sound = generator.uniform(-1, 1, samples).astype(np.float32)
    return Audio(sound, int(models.audio.rate)), Video(frames, models.video.rate)


def test_a_given_video_guides_the_sound_and_is_not_generated(joint, models):
    _, video = clip(models)
    guided = joint(PROMPT, given_video=[video], **call_of(models))
    assert guided.frames is None
    alone = run_alone(models.audio, PROMPT)
    assert not torch.equal(guided.audio, alone)
    unguided = joint(PROMPT, given_video=[video], joint_scale=0, **call_of(models))
    assert torch.equal(unguided.audio, alone)
    _, other = clip(models, seed=1)
    assert not torch.equal(
        joint(PROMPT, given_video=[other], **call_of(models)).audio, guided.audio
    )


def test_a_given_sound_guides_the_video_and_says_how_long_it_is(joint, models):
    audio, _ = clip(models)
    call = call_of(models)
    del call["video_kwargs"]["num_frames"]
    guided = joint(PROMPT, given_audio=[audio], **call)
    assert guided.audio is None
    assert guided.frames.shape == (1, *models.video.sample_shape)
    assert not torch.equal(guided.frames, run_alone(models.video, PROMPT))


def test_the_sound_lasts_as_long_as_the_video_unless_told(joint, models):
    call = call_of(models)
    del call["audio_kwargs"]["duration"]
    assert same(latents_of(joint(PROMPT, **call)), made(joint, models))
    call = call_of(models)
    call["audio_kwargs"]["duration"] = 30.0
    with pytest.raises(UserError, match=r"a video of 0\.5625 s and a sound of 30 s.*0\.5625"):
        joint(PROMPT, **call)


def test_clips_come_out_in_the_form_asked_for_with_their_rates(joint, models):
    call = call_of(models)
    del call["output_type"]
    out = joint(PROMPT, **call)
    assert out.frames.shape == (1, 9, 16, 16, 3)
    assert out.audio.shape[:2] == (1, 2)
    assert (out.frame_rate, out.sampling_rate) == (16, 16)


def test_several_prompts_are_several_pairs(joint, models):
    two = [PROMPT, "rain"]
    audio, video = latents_of(joint(two, **call_of(models)))
    assert len(audio) == len(video) == 2
    call = call_of(models)
    call["audio_kwargs"]["num_waveforms_per_prompt"] = 2
    with pytest.raises(UserError, match="1 videos and 2 sounds"):
        joint(PROMPT, **call)


def test_each_modality_may_have_its_own_prompt(joint, models):
    audio, video = made(joint, models, audio_prompt="rain", joint_scale=0)
    assert torch.equal(video, run_alone(models.video, PROMPT))
    assert torch.equal(audio, run_alone(models.audio, "rain"))


def test_one_generator_serves_both_with_different_numbers(joint, models):
    call = call_of(models)
    for side in ("audio_kwargs", "video_kwargs"):
        del call[side]["generator"]
    runs = [
        latents_of(joint(PROMPT, generator=torch.Generator().manual_seed(seed), **call))
        for seed in (0, 0, 1)
    ]
    assert same(runs[0], runs[1])
    assert not torch.equal(runs[0][0], runs[2][0])
    assert not torch.equal(runs[0][1], runs[2][1])


def test_a_callback_sees_each_step_of_either_side_and_may_change_it(joint, models):
    calls = []

    def note(pipe, step, timestep, kept):
        calls.append((pipe, step))
        if step == 3:
            return {"latents": torch.zeros_like(kept["latents"])}
        return kept

    audio, video = made(joint, models, callback_on_step_end=note)
    assert [step for pipe, step in calls if pipe is joint.video] == [0, 1, 2, 3]
    assert [step for pipe, step in calls if pipe is joint.audio] == [0, 1, 2, 3]
    assert not audio.any()
    assert not video.any()


def test_the_owners_callback_still_runs(joint, models):
    call, steps = call_of(models), []
    call["video_kwargs"]["callback_on_step_end"] = lambda pipe, i, t, kept: steps.append(i) or kept
    joint(PROMPT, **call)
    assert steps == [0, 1, 2, 3]


@pytest.mark.parametrize("side", ["audio", "video"])
@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_an_error_on_one_side_ends_both_and_leaves_them_usable(joint, models, side, error):
    def fail(pipe, step, timestep, kept):
        if pipe is getattr(joint, side) and step == 1:
            raise error
        return kept

    before, threads = made(joint, models), threading.active_count()
    with pytest.raises(type(error)):
        made(joint, models, callback_on_step_end=fail)
    assert threading.active_count() == threads
    assert "step" not in vars(joint.video.scheduler)
    assert same(made(joint, models), before)


def test_memory_that_runs_out_names_the_pipeline_and_what_to_try(joint, models):
    def fail(*_):
        raise torch.OutOfMemoryError

    hook = joint.audio.transformer.register_forward_pre_hook(fail)
    try:
        with pytest.raises(UserError, match="ran out in StableAudio3Pipeline: try enable_"):
            made(joint, models)
    finally:
        hook.remove()
    assert same(made(joint, models), made(joint, models))


def test_half_precision_is_the_owners():
    models = pair("wan", "stable audio 3")
    for model in (models.audio, models.video):
        model.pipe.to(torch.bfloat16)
    joint = JointPipeline(models.video.pipe, models.audio.pipe, Agreement(models))
    audio, video = made(joint, models, joint_scale=0)
    assert torch.equal(audio, run_alone(models.audio, PROMPT))
    assert torch.equal(video, run_alone(models.video, PROMPT))
    guided = made(joint, models)
    assert not same(guided, (audio, video))
    assert (guided[0].dtype, guided[1].dtype) == (audio.dtype, video.dtype)


def test_both_are_base_models_of_our_own_sampler(models):
    base = IndependentModels(models.audio, models.video)
    settings = SamplerConfig(
        4, AV(solver("flow-euler"), solver("flow-euler")), AV(2.0, 2.0), AV(*[ConstantScale()] * 2)
    )
    run = GenerationRun(
        base, Agreement(models), settings, JointGeneration(), float(models.video.seconds)
    )
    (clip, other) = generate(run, ["a dog", "rain"], [0, 1])
    assert clip.video.frames.shape == (9, 16, 16, 3)
    assert clip.audio.sample_rate == 16
    assert not np.array_equal(clip.video.frames, other.video.frames)


def test_only_one_side_computes_at_a_time(joint, models):
    busy, most = [], []

    def leave(*_):
        most.append(len(busy))
        busy.pop()

    transformers = (joint.video.transformer, joint.audio.transformer)
    hooks = [one.register_forward_pre_hook(lambda *_: busy.append(1)) for one in transformers]
    hooks += [one.register_forward_hook(leave) for one in transformers]
    made(joint, models)
    for hook in hooks:
        hook.remove()
    assert max(most) == 1


def test_two_sides_may_compute_at_once_with_the_same_result(joint, models):
    both = JointPipeline(joint.video, joint.audio, joint.discriminator, parallel=True)
    assert same(made(both, models), made(joint, models))


def test_inference_mode_and_autocast_reach_both_sides(joint, models):
    plain = made(joint, models)
    with torch.inference_mode():
        assert same(made(joint, models), plain)
    with torch.autocast("cpu", torch.bfloat16):
        low = made(joint, models, joint_scale=0)
        assert torch.equal(low[0], run_alone(models.audio, PROMPT))
    assert not same(low, made(joint, models, joint_scale=0))


def two_tower(channels, text):
    config = AudioVideoConfig(
        audio=WaveformLatents(channels=8, rate=4.0, text_width=text),
        video=VideoLatents(channels=channels, rate=4.0, text_width=text),
        width=16,
        depth=1,
        channel_mult=(1,),
    )
    network = AudioVideoDiscriminator(config).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network


def test_a_discriminator_without_captions_is_given_none_and_sizes_are_checked(models):
    pipes = models.video.pipe, models.audio.pipe
    call = call_of(models)
    audio, _ = latents_of(JointPipeline(*pipes, two_tower(16, 0))(PROMPT, **call))
    assert audio.isfinite().all()
    for channels, text, message in ((4, 0, "video latents of"), (16, 5, "captions of width")):
        with pytest.raises(UserError, match=message):
            JointPipeline(*pipes, two_tower(channels, text))(PROMPT, **call_of(models))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"given_video": [], "given_audio": []}, "both given"),
        ({"audio_kwargs": {"height": 3}}, "StableAudio3Pipeline takes no height"),
        ({"prompt": None}, "no prompt"),
    ],
)
def test_what_does_not_fit_is_one_line(joint, models, given, message):
    call = {"prompt": PROMPT, **call_of(models), **given}
    with pytest.raises(UserError, match=message):
        joint(**call)


def test_a_pipeline_that_has_no_negative_prompt_refuses_one():
    video, _ = build("wan")
    audio, _ = build("ace-step")
    with pytest.raises(UserError, match="AceStepPipeline takes no negative_prompt"):
        JointPipeline(video, audio)(PROMPT, negative_prompt="noise")


class TestAPairNobodyPlannedFor(JointPipelineContract):
    """Image-to-video with a LoRA and a tiled autoencoder, with other prompt and steps of sound."""

    @pytest.fixture(scope="class")
    def models(self):
        models = pair("wan i2v", "stable audio", steps=20)
        models.video.pipe.vae.enable_tiling(*[8] * 4)  # of one latent each
        lora = LoraConfig(r=2, target_modules=["to_q"], init_lora_weights=False)
        models.video.pipe.transformer.add_adapter(lora)
        audio = replace(models.audio, call={**models.audio.call, "num_inference_steps": 50})
        return AV(audio, models.video)

    @pytest.fixture
    def joint(self, models):
        return JointPipeline(models.video.pipe, models.audio.pipe, Agreement(models))

    def test_sound_has_its_own_prompt_and_steps(self, joint, models):
        steps = {joint.video: 0, joint.audio: 0}

        def count(pipe, step, t, kept):
            steps[pipe] += 1

        given = {"audio_prompt": "rain", "callback_on_step_end": count}
        unguided = made(joint, models, joint_scale=0, **given)
        assert list(steps.values()) == [20, 50]
        assert torch.equal(unguided[0], run_alone(models.audio, "rain"))
        assert torch.equal(unguided[1], run_alone(models.video, PROMPT))
        guided, other = (made(joint, models, audio_prompt=one) for one in ("rain", "wind"))
        assert not torch.equal(guided[0], other[0])
        assert not torch.equal(guided[1], other[1])  # of the sound, through the discriminator

    def test_image_lora_and_tiles_are_in_force(self, joint, models):
        """Without any one of them the guided clip is another."""

        def clip(**changed):
            call = with_steps(models, audio=4, video=2)
            call["video_kwargs"] |= changed
            return joint(PROMPT, **{**call, "output_type": "np"}).frames

        plain = clip()
        assert not np.array_equal(clip(image=torch.ones(1, 3, 16, 16)), plain)
        joint.video.transformer.disable_adapters()
        unadapted = clip()
        joint.video.transformer.enable_adapters()
        assert not np.array_equal(unadapted, plain)
        joint.video.vae.disable_tiling()
        whole = clip()
        joint.video.vae.enable_tiling()
        assert not np.array_equal(whole, plain)
        assert np.array_equal(clip(), plain)


def test_a_pair_is_saved_and_loaded(models, tmp_path):
    pipes = models.video.pipe, models.audio.pipe
    joint = JointPipeline(*pipes, two_tower(16, 0))
    joint.save_pretrained(tmp_path)
    loaded = JointPipeline.from_pretrained(tmp_path)
    for pipe in (loaded.video, loaded.audio):
        pipe.set_progress_bar_config(disable=True)
    original = JointPipeline(loaded.video, loaded.audio, joint.discriminator)
    assert type(loaded.video) is type(joint.video)
    assert type(loaded.audio) is type(joint.audio)
    assert same(made(loaded, models), made(original, models))
    assert not same(made(loaded, models), made(loaded, models, joint_scale=0.0))
    with pytest.raises(UserError, match="holds no joint pipeline"):
        JointPipeline.from_pretrained(tmp_path / "video")
    with pytest.raises(UserError, match="Agreement cannot be written"):
        JointPipeline(*pipes, Agreement(models)).save_pretrained(tmp_path / "other")


def test_a_discriminator_learns_from_stored_pairs_and_the_pipelines_own_predictions(
    models, tmp_path
):
    base, discriminator = IndependentModels(models.audio, models.video), Agreement(models)
    generator, count = torch.Generator().manual_seed(0), 8
    # pairs agree in their means; of the fakes the sound belongs to another video
    common = torch.randn(count, 1, generator=generator).sign()
    z_0 = models.map(
        lambda model: (
            2 * common.reshape(-1, *[1] * len(model.sample_shape))
            + torch.randn(count, *model.sample_shape, generator=generator)
        )
    )
    cond = base.encode_prompts(["a dog", "rain"] * (count // 2))
    real, fake = Pairs(z_0, cond), Pairs(AV(-z_0.audio, z_0.video), cond)
    stored = PairStore(tmp_path / "real", "real")
    stored.put(0, real)
    real = PairStore(tmp_path / "real", "real").read()
    assert torch.equal(real.cond.audio.embeds[0], cond.audio.embeds[0])
    levels = SameTimestep(base.schedules).levels(torch.linspace(0.1, 0.6, count))
    eps = z_0.map(lambda x: torch.randn(x.shape, generator=generator))
    noised = NoisedPairs(real, eps, levels), NoisedPairs(fake, eps, levels)
    loss, optimizer = MMDisCoLoss(), torch.optim.Adam(discriminator.parameters(), 0.02)
    totals = []
    for _ in range(8):
        total = loss.total(loss.losses(discriminator, base, *noised)).mean()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(float(total))
    assert totals[-1] < 0.8 * totals[0]
