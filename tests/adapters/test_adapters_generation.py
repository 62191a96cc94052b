"""Adapted models make clips together, jointly and for a given side."""

import numpy as np
import pytest
import torch
from closeness import assert_close
from test_adapters_tiny import animatediff, audioldm, audioldm2, sounds, text_to_video, videos

from mmdisco.core.av import AV
from mmdisco.core.denoiser import IndependentModels
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.guidance import ConstantScale
from mmdisco.core.schedulers import solver
from mmdisco.generation.pipeline import (
    AudioToVideo,
    GenerationRun,
    JointGeneration,
    SamplerConfig,
    VideoToAudio,
    generate,
)

SECONDS = 0.125
PAIRS = {
    "AudioLDM, AnimateDiff": (audioldm, animatediff),
    "AudioLDM2, TextToVideoSD": (audioldm2, text_to_video),
}


class Agreement(Discriminator):
    """Likes what is loud and bright at once."""

    def forward(self, z_t, level, text):
        return z_t.audio.mean((1, 2, 3)) * z_t.video.mean((1, 2, 3, 4)) * text.audio.norm(dim=1)


@pytest.fixture(scope="module", params=PAIRS)
def pair(request):
    audio, video = PAIRS[request.param]
    return IndependentModels(audio(), video())


def made(pair, task, scale, prompts=("a dog", "rain")):
    weight = ConstantScale(scale)
    settings = SamplerConfig(
        3, AV(solver("ddim"), solver("ddim")), AV(2.5, 7.5), AV(weight, weight)
    )
    generation = GenerationRun(pair, Agreement(), settings, task, SECONDS)
    return generate(generation, list(prompts), list(range(len(prompts))))


def test_both_sides_come_out_in_one_length(pair):
    clips = made(pair, JointGeneration(), 1.0)
    assert [float(clip.audio.seconds) for clip in clips] == [SECONDS] * 2
    assert [float(clip.video.seconds) for clip in clips] == [SECONDS] * 2


def test_a_discriminator_changes_both_sides(pair):
    with_one, without = (made(pair, JointGeneration(), scale)[0] for scale in (200.0, 0.0))
    assert np.abs(with_one.audio.waveform - without.audio.waveform).max() > 0
    assert np.abs(with_one.video.frames - without.video.frames).max() > 0


def test_a_clip_depends_on_its_own_prompt_and_seed_alone(pair):
    together, alone = (
        made(pair, JointGeneration(), 1.0)[0],
        made(pair, JointGeneration(), 1.0, ("a dog",))[0],
    )
    assert_close(together.audio.waveform, alone.audio.waveform, rtol=1e-4)
    assert_close(together.video.frames, alone.video.frames, rtol=1e-4)


def test_a_given_side_is_shown_as_it_was_given(pair):
    (seen,) = videos(1, frames=1)
    assert made(pair, VideoToAudio([seen], [seen]), 1.0, ("rain",))[0].video.frames.shape[0] == 1
    (heard,) = sounds(1, samples=2000)
    clip = made(pair, AudioToVideo([heard], [heard]), 1.0, ("rain",))[0]
    assert torch.equal(torch.from_numpy(clip.audio.waveform), torch.from_numpy(heard.waveform))
