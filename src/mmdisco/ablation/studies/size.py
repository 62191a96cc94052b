"""Width C and depth L of the towers."""

from dataclasses import replace
from typing import Final

from mmdisco.ablation.study import Arm, More, Study, Usual

WIDTHS: Final = (32, 64, 128, 256)
DEPTHS: Final = (1, 2, 4)


def _arms(usual: Usual) -> list[Arm]:
    def arm(width: int, depth: int) -> Arm:
        shape = replace(usual.recipe.shape, width=width, depth=depth)
        recipe = replace(usual.recipe, shape=shape)
        return Arm(f"C = {width}, L = {depth}", usual.way, recipe, float(width), f"L = {depth}")

    wide = [arm(width, DEPTHS[0]) for width in WIDTHS]
    return [*wide, *(arm(128, depth) for depth in DEPTHS[1:])]


SIZE: Final = Study(
    "Width and depth",
    _arms,
    (
        More("wider is better", "gap event_f1", "C = 128, L = 1", "C = 32, L = 1"),
        More("deeper is better", "gap event_f1", "C = 128, L = 4", "C = 128, L = 1"),
    ),
    axis="width C",
)
