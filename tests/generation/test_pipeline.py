from dataclasses import replace

import numpy as np
import pytest
import torch
from closeness import BATCH, assert_close, is_close

from mmdisco.adapters.miniature import SECONDS
from mmdisco.core.av import AV
from mmdisco.core.coupling import SameTimestep
from mmdisco.core.guidance import ClassifierFreeGuidance, ConstantScale, IntervalScale
from mmdisco.core.rng import NoiseSource
from mmdisco.core.sampler import LogSNRSpacing, Sampler
from mmdisco.core.schedulers import solver
from mmdisco.errors import UserError
from mmdisco.generation.pipeline import (
    AudioToVideo,
    GenerationRun,
    JointGeneration,
    VideoToAudio,
    generate,
)
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.media.sounding_objects.dataset import example

PROMPTS = ["a red ball bouncing", "a blue bell rings"]
SEEDS = [3, 4]


@pytest.fixture(scope="module")
def joint(tiny_pair):
    folder = MiniatureSystem(tiny_pair)
    return GenerationRun(
        folder.model(),
        folder.discriminator(),
        folder.sampling().settings,
        JointGeneration(),
        SECONDS,
    )


@pytest.fixture(scope="module")
def clips():
    return [example(0, index).clip for index in range(2)]


def last(generation, prompts=PROMPTS, seeds=SEEDS):
    *_, z_0 = generation.run(prompts, seeds)
    return z_0


def change(generation, **settings):
    return replace(generation, settings=replace(generation.settings, **settings))


def distance(one, other):
    """The largest difference in either modality."""
    return AV(
        float((one.audio - other.audio).abs().max()), float((one.video - other.video).abs().max())
    )


def test_run_yields_after_every_step(joint):
    assert len(list(joint.run(PROMPTS, SEEDS))) == joint.settings.steps


def test_same_prompts_and_seeds_are_the_same_latents(joint):
    assert distance(last(joint), last(joint)) == AV(0.0, 0.0)


def test_a_clip_depends_on_its_own_prompt_and_seed_alone(joint):
    together, alone = last(joint), last(joint, PROMPTS[1:], SEEDS[1:])
    assert_close(together.audio[1:], alone.audio, rtol=BATCH)
    assert_close(together.video[1:], alone.video, rtol=BATCH)
    assert not is_close(together.video[:1], alone.video, rtol=BATCH)


def test_scale_zero_is_the_bases_alone(joint):
    still = AV(ConstantScale(0.0), ConstantScale(0.0))
    model, settings = joint.model, joint.settings
    bases = ClassifierFreeGuidance(model, model.encode_prompts([""]), settings.cfg_scale)
    sampler = Sampler(SameTimestep(model.schedules), settings.solvers, settings.steps)
    noise = NoiseSource.from_seeds(SEEDS)
    shapes = model.latent_shapes(SECONDS).map(lambda shape: torch.Size([2, *shape]))
    z_T = sampler.initial(noise, shapes)
    expected = sampler.sample(bases, z_T, model.encode_prompts(PROMPTS), noise)
    assert distance(last(change(joint, joint_scale=still)), expected) == AV(0.0, 0.0)
    assert distance(last(joint), expected).audio > 0.1


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": 9},
        {"solvers": AV(solver("euler-ancestral"), solver("ddim"))},
        {"cfg_scale": AV(2.0, 1.5)},
        {"joint_scale": AV(ConstantScale(2.0), ConstantScale(1.0))},
        {"joint_scale": AV(IntervalScale(1.0, -2.0, 2.0), IntervalScale(1.0, -2.0, 2.0))},
        {"grid": LogSNRSpacing()},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_every_setting_changes_the_latents(settings, joint):
    apart = distance(last(joint), last(change(joint, **settings)))
    assert max(apart.audio, apart.video) > 0.05


def test_guidance_makes_either_side_depend_on_the_noise_of_the_other(joint):
    still = change(joint, joint_scale=AV(ConstantScale(0.0), ConstantScale(0.0)))
    for generation, depends in ((joint, True), (still, False)):
        model = generation.model
        cond = model.encode_prompts(PROMPTS)
        noise = NoiseSource.from_seeds(SEEDS)
        shapes = model.latent_shapes(SECONDS).map(lambda shape: torch.Size([2, *shape]))
        z_T = generation.sampler.initial(noise, shapes)
        other = AV(z_T.audio, -z_T.video)
        denoiser = generation.denoiser()
        one, two = (
            generation.sampler.sample(denoiser, start, cond, noise) for start in (z_T, other)
        )
        assert (distance(one, two).audio > 1e-2) == depends


def test_joint_clips_are_decoded_latents(joint):
    made = generate(joint, PROMPTS, SEEDS)
    z_0 = last(joint)
    sounds, videos = joint.model.decode_audio(z_0.audio), joint.model.decode_video(z_0.video)
    for clip, sound, video in zip(made, sounds, videos, strict=True):
        np.testing.assert_array_equal(clip.audio.waveform, sound.waveform)
        np.testing.assert_array_equal(clip.video.frames, video.frames)


def test_sound_for_a_video_holds_the_video(joint, clips):
    videos = [clip.video for clip in clips]
    generation = replace(joint, task=VideoToAudio(videos, videos))
    encoded = joint.model.encode_video(videos)
    for z in generation.run(PROMPTS, SEEDS):
        assert_close(z.video, encoded)
    for made, clip in zip(generation.clips(z), clips, strict=True):
        np.testing.assert_array_equal(made.video.frames, clip.video.frames)
        assert made.audio.seconds == clip.audio.seconds
    swapped = replace(joint, task=VideoToAudio(videos[::-1], videos[::-1]))
    assert distance(last(swapped), z).audio > 1e-2


def test_video_for_a_sound_holds_the_sound(joint, clips):
    sounds = [clip.audio for clip in clips]
    generation = replace(joint, task=AudioToVideo(sounds, sounds))
    encoded = joint.model.encode_audio(sounds)
    for z in generation.run(PROMPTS, SEEDS):
        assert_close(z.audio, encoded)
    for made, clip in zip(generation.clips(z), clips, strict=True):
        np.testing.assert_array_equal(made.audio.waveform, clip.audio.waveform)
        assert made.video.frames.shape == clip.video.frames.shape
    swapped = replace(joint, task=AudioToVideo(sounds[::-1], sounds[::-1]))
    assert distance(last(swapped), z).video > 1e-2


def test_what_is_shown_may_be_another_size_than_what_is_seen_and_is_cut(joint, clips):
    seen = clips[0].video
    shown = replace(seen, frames=np.tile(seen.frames, (2, 2, 1, 1)))
    (made,) = generate(replace(joint, task=VideoToAudio([seen], [shown])), PROMPTS[:1], SEEDS[:1])
    np.testing.assert_array_equal(made.video.frames, shown.frames[:16])


def test_a_seed_is_needed_for_every_prompt(joint):
    with pytest.raises(UserError, match="2 prompts and 1 seeds"):
        joint.run(PROMPTS, SEEDS[:1])


def test_impossible_steps_are_refused(joint):
    with pytest.raises(UserError, match="0 sampling steps"):
        last(change(joint, steps=0))
