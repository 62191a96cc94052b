"""How the two sides meet in the discriminator."""

from dataclasses import replace
from typing import Final, Literal

from mmdisco.ablation.study import BASES, Arm, More, NoMore, Study, Usual
from mmdisco.course.config import First

Interaction = Literal["time", "products", "pooled", "additive"]


def meeting(
    usual: Usual,
    name: str,
    interaction: Interaction,
    first: First | None = None,
    *,
    kept: bool = False,
) -> Arm:
    """The usual training with another interaction; without contrast before, unless it is given."""
    recipe = usual.recipe
    shape = replace(recipe.shape, interaction=interaction)
    before = first or replace(recipe.first, steps=0)
    return Arm(name, usual.way, replace(recipe, shape=shape, first=before, kept=kept))


def _arms(usual: Usual) -> list[Arm]:
    names: tuple[Interaction, ...] = ("additive", "pooled", "time", "products")
    arms = [meeting(usual, name, name) for name in names]
    before = usual.recipe.first
    if before.steps:
        first = "products, contrast first"
        arms.append(meeting(usual, first, "products", before))
        arms.append(meeting(usual, f"{first}, then kept", "products", before, kept=True))
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
