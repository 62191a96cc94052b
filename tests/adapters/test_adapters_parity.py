"""Whole runs equal those of diffusers' own pipelines, step for step, with the same weights."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from test_adapters_tiny import BUILDERS, SECONDS, modality, scheduler

from mmdisco.core.av import AV
from mmdisco.core.coupling import SameTimestep
from mmdisco.core.denoiser import IndependentDenoisers
from mmdisco.core.guidance import ClassifierFreeGuidance
from mmdisco.core.rng import NoiseSource
from mmdisco.core.sampler import Sampler, TimestepSpacing
from mmdisco.core.schedulers import ddim

STEPS = 4
SCALE = 2.5
# both have as many tokens, for diffusers pads the negative prompt of AudioLDM2 to the other one
PROMPT, NEGATIVE = "dog barks", "bad sound"


@dataclass(frozen=True)
class AtTimesteps(TimestepSpacing):
    """The timesteps that a pipeline's scheduler visits."""

    timesteps: tuple[int, ...]

    def stops(self, path, steps):
        return torch.tensor(self.timesteps, dtype=torch.float64) / 999


def solver_of(model):
    """The pipelines' scheduler, its last step ending at x_0 as the project's sampler has it."""
    return DDIMScheduler.from_config(model.pipe.scheduler.config, set_alpha_to_one=True)


VIDEO = {"num_frames": 4, "height": 16, "width": 24, "output_type": "pt"}
CALLS = {
    "audioldm": {"audio_length_in_s": SECONDS["audio"]},
    "audioldm2": {"audio_length_in_s": SECONDS["audio"], "max_new_tokens": 5},
    "animatediff": VIDEO,
    "text-to-video": VIDEO,
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("scale", [1.0, SCALE], ids=["plain", "guided"])
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_a_run_equals_the_pipeline(name, scale, prediction_type):
    model = BUILDERS[name](prediction_type)
    shape = model.latent_shape(SECONDS[modality(name)])
    z_T = torch.randn(1, *shape, generator=torch.Generator().manual_seed(3))
    pipeline = BUILDERS[name](prediction_type).pipe
    pipeline.scheduler = solver_of(model)
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        prompt=PROMPT,
        negative_prompt=NEGATIVE,
        num_inference_steps=STEPS,
        guidance_scale=scale,
        latents=z_T.clone(),
        **CALLS[name],
    )
    scheduler: Any = pipeline.scheduler
    ours: list[Any] = run(model, z_T, scale, tuple(scheduler.timesteps.tolist()))
    if modality(name) == "audio":
        reference, made = theirs.audios[0], ours[0].waveform
    else:
        reference, made = theirs.frames[0].numpy(), ours[0].frames.transpose(0, 3, 1, 2)
    assert made.shape == reference.shape
    assert np.abs(made - reference).max() < 1e-4 * np.abs(reference).max()
    assert reference.std() > 1e-3


def run(model, z_T, scale, timesteps):
    """The model beside itself: a sampler walks pairs, and what is compared is one side."""
    pair = IndependentDenoisers(AV(model, model))
    null = AV(*[model.encode_prompts([NEGATIVE])] * 2)
    guided = ClassifierFreeGuidance(pair, null, AV(scale, scale))
    grid = AtTimesteps(timesteps)
    sampler = Sampler(SameTimestep(pair.schedules), AV(ddim(), ddim()), STEPS, grid)
    cond = AV(*[model.encode_prompts([PROMPT])] * 2)
    z_0 = sampler.sample(guided, AV(z_T, z_T), cond, NoiseSource.from_seeds([0]))
    return model.decode(z_0.audio)


def test_the_tiny_scheduler_does_not_visit_the_last_timestep_first():
    # so that the grid above is needed at all
    solver = scheduler()
    solver.set_timesteps(STEPS)
    assert solver.timesteps[0] < 999
