"""Sampler and steps: cost against alignment."""

from dataclasses import replace
from typing import Final

from mmdisco.ablation.study import Arm, Study, Usual

STEPS_OF: Final = {
    "ddim": (10, 20, 50),
    "ddpm": (20, 50),
    "dpm++2m": (10, 20, 30),
    "sde-dpm++2m": (10, 20, 30, 50),
    "unipc": (10, 20),
}


def _arms(usual: Usual) -> list[Arm]:
    def arm(solver: str, steps: int) -> Arm:
        sampling = replace(usual.way.sampling, solver=solver, steps=steps)
        way = replace(usual.way, sampling=sampling)
        return Arm(f"{solver}, {steps} steps", way, None, float(way.evaluations), solver)

    return [arm(solver, steps) for solver, own in STEPS_OF.items() for steps in own]


SAMPLERS: Final = Study("Sampler and steps", _arms, axis="evaluations of the bases")
