"""How the two sides meet in the discriminator."""

from dataclasses import replace
from typing import Final

from mmdisco.ablation.study import BASES, Arm, More, NoMore, Study, Usual


def _arms(usual: Usual) -> list[Arm]:
    recipe = usual.recipe

    def arm(name: str, interaction: str, first: int) -> Arm:
        shape = replace(recipe.shape, interaction=interaction)
        return Arm(name, usual.way, replace(recipe, shape=shape, first=first))

    arms = [arm(name, name, 0) for name in ("additive", "pooled", "time", "products")]
    if recipe.first:
        arms.append(arm("products, contrast first", "products", recipe.first))
    return arms


INTERACTION: Final = Study(
    "Interaction of the two sides",
    _arms,
    (
        NoMore("the additive head aligns nothing", "gap event_f1", "additive", BASES),
        More("in time beats additive", "gap event_f1", "time", "additive"),
        More("in time beats pooled", "gap event_f1", "time", "pooled"),
        More("products beat attention alone", "gap event_f1", "products", "time"),
        More("contrast first helps", "gap event_f1", "products, contrast first", "products"),
    ),
)
