"""Which pairs of noise levels are trained on: of the path, drawn apart, or with one side clean."""

from dataclasses import replace
from typing import Final

from mmdisco.ablation.study import Arm, More, Study, Usual

SHARES: Final = {
    "paired": (0.0, 0.0),
    "independent 0.35": (0.35, 0.0),
    "one-sided 0.3": (0.0, 0.3),
    "independent 0.35, one-sided 0.3": (0.35, 0.3),
    "independent 1": (1.0, 0.0),
}


def _arms(usual: Usual) -> list[Arm]:
    def arm(name: str, independent: float, one_sided: float) -> Arm:
        levels = replace(usual.recipe.levels, independent=independent, one_sided=one_sided)
        return Arm(name, usual.way, replace(usual.recipe, levels=levels))

    return [arm(name, *shares) for name, shares in SHARES.items()]


LEVELS: Final = Study(
    "Pairing of noise levels",
    _arms,
    (
        More(
            "one-sided levels teach sound for a given video",
            "given video: nats audio",
            "one-sided 0.3",
            "paired",
        ),
    ),
)
