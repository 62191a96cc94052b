"""The weights inside the package: they load, repeat themselves, and know what belongs together."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from closeness import assert_close

from mmdisco import generate
from mmdisco.adapters.miniature import GAME_WEIGHTS, PACKAGED
from mmdisco.core.av import AV
from mmdisco.core.noise import NoiseLevel
from mmdisco.experiments.miniature.evaluation import held_out
from mmdisco.generation.presets.miniature import MiniatureSystem

PROMPT = "a red ball bouncing"
MEGABYTE = 1_000_000


def made(**options):
    return generate(PROMPT, steps=4, **options)


def test_a_seed_repeats_its_clip_to_the_bit_and_another_does_not():
    (first,), (again,), (other,) = made(seed=3), made(seed=3), made(seed=4)
    assert np.array_equal(first.video.frames, again.video.frames)
    assert np.array_equal(first.audio.waveform, again.audio.waveform)
    assert np.abs(first.video.frames - other.video.frames).mean() > 0.01
    assert np.abs(first.audio.waveform - other.audio.waveform).mean() > 1e-4


def test_a_clip_does_not_depend_on_those_made_beside_it():
    (alone,), (beside, *_) = made(seed=3), made(seed=3, samples=3)
    # sums are taken in another order
    assert np.abs(alone.video.frames - beside.video.frames).mean() < 1e-3
    assert np.abs(alone.audio.waveform - beside.audio.waveform).mean() < 1e-3


@pytest.fixture(scope="module")
def held():
    """64 clips nothing was trained on, in eights of one caption's meaning."""
    model = MiniatureSystem().model()
    examples = [held_out(index) for index in range(64)]
    z_0 = AV(
        model.encode_audio([one.clip.audio for one in examples]),
        model.encode_video([one.clip.video for one in examples]),
    )
    text = model.encode_prompts([one.caption.text for one in examples]).map(lambda one: one.pooled)
    return z_0, text


def told(name, z_0, text):
    level = NoiseLevel.clean(len(z_0.audio))
    with torch.no_grad():
        return MiniatureSystem().discriminator(name)(z_0, AV(level, level), text)


def test_discriminator_knows_clips_from_clips_put_together_anew(held):
    z_0, text = held
    # the sound of the next clip of the same caption
    within = torch.arange(64).unflatten(0, (8, 8)).roll(1, 1).flatten()
    true = told("discriminator", z_0, text)
    false = told("discriminator", AV(z_0.audio[within], z_0.video), text)
    assert (true[:, None] > false).float().mean() > 0.75


def test_additive_control_cannot_know(held):
    z_0, text = held
    within = torch.arange(64).unflatten(0, (8, 8)).roll(1, 1).flatten()
    true = told("additive", z_0, text)
    anew = AV(z_0.audio[within], z_0.video)
    # f(audio) + g(video): any re-pairing of the same captions has the same sum over a group
    own = AV(text.audio[within], text.video)
    sums = [told("additive", anew, own).double().sum(), true.double().sum()]
    assert_close(*sums, rtol=1e-4, scale=true.double().abs().sum())


def test_the_games_pair_makes_clips_of_its_own_form_and_its_discriminator_has_a_say():
    asked = {"preset": "game", "steps": 4, "seed": 1}
    (clip,) = generate("a pistol fires, a round arena", **asked)
    (alone,) = generate("a pistol fires, a round arena", no_joint_guidance=True, **asked)
    assert clip.video.frames.shape == alone.video.frames.shape == (20, 80, 96, 3)
    assert (clip.audio.sample_rate, clip.video.fps) == (22_050, Fraction(35, 3))
    assert np.abs(clip.audio.waveform - alone.audio.waveform).max() > 1e-3
    assert np.abs(clip.video.frames - alone.video.frames).max() > 0.02


@pytest.mark.parametrize("folder", [PACKAGED, GAME_WEIGHTS])
def test_package_stays_small(folder):
    assert sum(path.stat().st_size for path in folder.iterdir()) < 20 * MEGABYTE
