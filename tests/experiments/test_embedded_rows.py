"""Rows of the table of the embedded pair."""

from dataclasses import replace

import torch

from mmdisco.core.av import AV
from mmdisco.experiments.miniature.evaluation import BATCH, Bench, joint_generation, rows
from mmdisco.generation.pipeline import GenerationRun
from mmdisco.generation.presets.miniature import MiniatureSystem

CLIPS = 3


def test_rows_of_few_steps_have_their_defaults(tiny_pair):
    defaults = MiniatureSystem(tiny_pair).sampling()
    found = {row.name: row for row in rows(defaults)}
    for steps in (8, 4):
        row = found[f"joint, {steps} steps"]
        assert row.sampling.steps == steps
        assert row.sampling == defaults.in_steps(steps)
    one_sided = found["video to audio, 8 steps"]
    assert one_sided.sampling.joint_scale == AV(defaults.in_steps(8).video_to_audio, 0.0)


def test_few_steps_have_a_scheduler_and_scales_of_their_own(tiny_pair):
    own = {"few_steps": 8, "few_steps_scheduler": "ddpm", "few_steps_scale": 0.5}
    defaults = replace(MiniatureSystem(tiny_pair).sampling(), **own)
    few, many = defaults.in_steps(8), defaults.in_steps(9)
    assert (few.steps, few.scheduler) == (8, "ddpm")
    assert few.joint_scale == defaults.joint_scale.map(lambda scale: 0.5 * scale)
    assert few.audio_to_video == 0.5 * defaults.audio_to_video
    assert few.in_steps(8) == few
    assert (many.steps, many.scheduler) == (9, defaults.scheduler)
    assert many.joint_scale == defaults.joint_scale


def test_of_the_candidates_of_each_clip_the_one_with_the_largest_logit_is_kept(
    tiny_pair, monkeypatch
):
    assert CLIPS < BATCH
    folder = MiniatureSystem(tiny_pair)
    bench, sampling = Bench.load(folder), replace(folder.sampling(), steps=2)
    ranked, kept = [], []

    def logits(self, prompts, z_0):
        ranked.append(z_0)
        # another candidate is the best of each clip
        return torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0], [1.0, 0.0, 2.0]])[len(ranked) - 1]

    monkeypatch.setattr(GenerationRun, "logits", logits)
    monkeypatch.setattr(GenerationRun, "clips", lambda self, z_0: kept.append(z_0) or [])
    made = bench.guided(folder.discriminator(), sampling.settings, joint_generation, 0, CLIPS, 3)
    assert list(made) == [[]]
    for side in ("audio", "video"):
        latents = [getattr(one, side) for one in ranked]
        assert not torch.equal(latents[0], latents[1])
        wanted = torch.stack([latents[clip][clip] for clip in range(CLIPS)])
        assert torch.equal(getattr(kept[0], side), wanted)
