"""Corrections: steps that are taken again, beside more steps at the same cost."""

from dataclasses import replace
from typing import Final

from mmdisco.ablation.study import Arm, Study, Usual

CORRECTIONS_TRIED: Final = (0, 1, 2)


def _arms(usual: Usual) -> list[Arm]:
    sampling = usual.way.sampling

    def arm(steps: int, corrections: int, series: str) -> Arm:
        way = replace(usual.way, sampling=replace(sampling, steps=steps), corrections=corrections)
        name = f"{steps} steps, {corrections} corrections"
        return Arm(name, way, None, float(way.evaluations), series)

    again = [arm(sampling.steps, count, "corrections") for count in CORRECTIONS_TRIED]
    more = [arm(sampling.steps * (1 + count), 0, "more steps") for count in CORRECTIONS_TRIED[1:]]
    return [*again, *more]


CORRECTIONS: Final = Study("Corrector steps", _arms, axis="evaluations of the bases")
