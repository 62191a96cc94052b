"""Draws clips that the bases of a run make on their own, and reads them."""

import argparse
import json
import sys
from pathlib import Path

import torch

from mmdisco.core.av import AV
from mmdisco.core.coupling import SameTimestep
from mmdisco.core.rng import NoiseSource
from mmdisco.core.sampler import Sampler
from mmdisco.core.schedulers import solver
from mmdisco.evaluation.metrics.sounding_objects.agreement import agreement, as_record, read
from mmdisco.experiments.miniature.evaluation import held_out
from mmdisco.generation.pipeline import JointGeneration, JointOutsideCFG, guided_base
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.media.plots import draw_clips

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw clips of the bases.")
    parser.add_argument("--folder", type=Path, default=Path("runs/embedded/pair"))
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--solver", default="dpm++2m")
    parser.add_argument("--cfg", type=float, nargs=2, default=[1.5, 1.5])
    parser.add_argument("--picture", type=Path)
    o = parser.parse_args()
    torch.set_num_threads(1)
    model = MiniatureSystem(o.folder).model()
    sampler = Sampler(
        SameTimestep(model.schedules), AV(solver(o.solver), solver(o.solver)), o.steps
    )
    base = guided_base(model, AV(*o.cfg), JointOutsideCFG())
    readings, drawn = [], {}
    for start in range(0, o.clips, 16):
        wanted = [held_out(8 * i) for i in range(start, min(start + 16, o.clips))]
        noise = NoiseSource.from_seeds([start + i for i in range(len(wanted))])
        count = len(wanted)
        shapes = model.latent_shapes(1.6).map(lambda s, n=count: torch.Size([n, *s]))
        z = sampler.sample(
            base,
            sampler.initial(noise, shapes),
            model.encode_prompts([w.caption.text for w in wanted]),
            noise,
        )
        clips = JointGeneration().finish(model, z, 1.6)
        readings += [read(c, w.caption.named) for c, w in zip(clips, wanted, strict=True)]
        drawn |= {w.caption.text: c for c, w in zip(clips, wanted, strict=True)}
    figures = {k: round(v["value"], 3) for k, v in as_record(agreement(readings)).items()}
    sys.stdout.write(json.dumps({**vars(o), "folder": "", "picture": "", **figures}) + "\n")
    if o.picture:
        draw_clips(o.picture, dict(list(drawn.items())[:16]))
