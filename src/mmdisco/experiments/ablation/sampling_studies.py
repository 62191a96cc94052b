"""Ablations of sampling: solver and steps, resampling, and joint guidance.

The studies compare solvers and numbers of steps by cost and alignment; resampled steps with more
steps at the same cost; intervals of noise levels with joint guidance; a discriminator that is run
at every second or third evaluation or in an interval; and joint scales of either modality.
"""

from dataclasses import replace
from typing import Final

from mmdisco.core.av import AV
from mmdisco.evaluation.metrics.result import UNGUIDED
from mmdisco.experiments.ablation.study import (
    AblationStudy,
    Arm,
    Baseline,
    Greater,
    NotGreater,
)
from mmdisco.generation.system import EVERY_LEVEL

STEPS_OF: Final = {
    "ddim": (10, 20, 50),
    "ddpm": (20, 50),
    "dpm++2m": (10, 20, 30),
    "sde-dpm++2m": (10, 20, 30, 50),
    "unipc": (10, 20),
}


def _arms(usual: Baseline) -> list[Arm]:
    def arm(solver: str, steps: int) -> Arm:
        sampling = replace(usual.way.sampling, solver=solver, steps=steps)
        way = replace(usual.way, sampling=sampling)
        return Arm(f"{solver}, {steps} steps", way, None, float(way.evaluations), solver)

    return [arm(solver, steps) for solver, own in STEPS_OF.items() for steps in own]


SAMPLERS: Final = AblationStudy("Sampler and steps", _arms, axis="evaluations of the bases")


CORRECTIONS_TRIED: Final = (0, 1, 2)


def _corrections_arms(usual: Baseline) -> list[Arm]:
    sampling = usual.way.sampling

    def arm(steps: int, resamples: int, series: str) -> Arm:
        way = replace(usual.way, sampling=replace(sampling, steps=steps), resamples=resamples)
        name = f"{steps} steps, {resamples} corrections"
        return Arm(name, way, None, float(way.evaluations), series)

    again = [arm(sampling.steps, count, "corrections") for count in CORRECTIONS_TRIED]
    more = [arm(sampling.steps * (1 + count), 0, "more steps") for count in CORRECTIONS_TRIED[1:]]
    return [*again, *more]


CORRECTIONS: Final = AblationStudy(
    "Corrector steps", _corrections_arms, axis="evaluations of the bases"
)


INF: Final = float("inf")
INTERVALS_OF_LOG_SNR: Final = {
    "every level": EVERY_LEVEL,
    "ln snr above 0": (0.0, INF),
    "ln snr below 0": (-INF, 0.0),
    "ln snr −2 to 2": (-2.0, 2.0),
    "ln snr −4 to 4": (-4.0, 4.0),
}


def _intervals_arms(usual: Baseline) -> list[Arm]:
    def arm(name: str, levels: tuple[float, float]) -> Arm:
        sampling = replace(usual.way.sampling, joint_levels=levels)
        return Arm(name, replace(usual.way, sampling=sampling))

    return [arm(name, levels) for name, levels in INTERVALS_OF_LOG_SNR.items()]


INTERVALS: Final = AblationStudy(
    "Guidance intervals",
    _intervals_arms,
    (
        NotGreater(
            "the ends are not needed: every level is no better than −4 to 4",
            "gap event_f1",
            "every level",
            "ln snr −4 to 4",
        ),
    ),
)


WITHOUT_ENDS: Final = (-4.0, 4.0)
TRIED: Final = {
    "every evaluation": (1, EVERY_LEVEL),
    "every 2nd": (2, EVERY_LEVEL),
    "every 3rd": (3, EVERY_LEVEL),
    "ln snr −4 to 4": (1, WITHOUT_ENDS),
    "ln snr −4 to 4, every 2nd": (2, WITHOUT_ENDS),
}


def _reuse_arms(usual: Baseline) -> list[Arm]:
    def arm(name: str, every: int, levels: tuple[float, float]) -> Arm:
        sampling = replace(usual.way.sampling, guidance_every=every, joint_levels=levels)
        return Arm(name, replace(usual.way, sampling=sampling))

    return [arm(name, *tried) for name, tried in TRIED.items()]


REUSE: Final = AblationStudy(
    "A gradient for more than one evaluation",
    _reuse_arms,
    (
        NotGreater(
            "a gradient serves two evaluations: every one is no better than every 2nd",
            "gap event_f1",
            "every evaluation",
            "every 2nd",
        ),
        NotGreater(
            "a gradient serves three evaluations: every one is no better than every 3rd",
            "gap event_f1",
            "every evaluation",
            "every 3rd",
        ),
        NotGreater(
            "the ends are not needed: every level is no better than −4 to 4",
            "gap event_f1",
            "every evaluation",
            "ln snr −4 to 4",
        ),
    ),
)


SCALES_OF_BOTH: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
SCALES_OF_ONE: Final = (1.0, 4.0)


def _scales_arms(usual: Baseline) -> list[Arm]:
    def arm(audio: float, video: float, series: str) -> Arm:
        sampling = replace(usual.way.sampling, joint_scale=AV(audio, video))
        name = f"audio {audio:g}, video {video:g}"
        return Arm(name, replace(usual.way, sampling=sampling), None, max(audio, video), series)

    return [
        *(arm(scale, scale, "both") for scale in SCALES_OF_BOTH),
        *(arm(scale, 0.0, "audio alone") for scale in SCALES_OF_ONE),
        *(arm(0.0, scale, "video alone") for scale in SCALES_OF_ONE),
    ]


SCALES: Final = AblationStudy(
    "Joint scales",
    _scales_arms,
    (Greater("guided beats the unguided baseline", "gap event_f1", "audio 1, video 1", UNGUIDED),),
    axis="joint scale",
)
