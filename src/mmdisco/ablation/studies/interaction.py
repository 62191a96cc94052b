"""How the two sides meet in the discriminator."""

from dataclasses import replace
from typing import Final, Literal

from mmdisco.ablation.study import BASES, Arm, More, NoMore, Study, Usual
from mmdisco.course.config import First

Interaction = Literal["time", "products", "pooled", "additive"]


def _arms(usual: Usual) -> list[Arm]:
    recipe = usual.recipe

    def arm(name: str, interaction: Interaction, first: First, *, kept: bool = False) -> Arm:
        shape = replace(recipe.shape, interaction=interaction)
        return Arm(name, usual.way, replace(recipe, shape=shape, first=first, kept=kept))

    none = replace(recipe.first, steps=0)
    names: tuple[Interaction, ...] = ("additive", "pooled", "time", "products")
    arms = [arm(name, name, none) for name in names]
    if recipe.first.steps:
        first = "products, contrast first"
        arms.append(arm(first, "products", recipe.first))
        arms.append(arm(f"{first}, then kept", "products", recipe.first, kept=True))
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
