"""The central claims, with the fewest arms that can tell."""

from dataclasses import replace
from typing import Final

from mmdisco.ablation.study import BASES, Arm, More, NoMore, Study, Usual
from mmdisco.training.losses import Objective


def _arms(usual: Usual) -> list[Arm]:
    recipe = usual.recipe
    none = replace(recipe.first, steps=0)

    def losing(name: str, loss: Objective) -> Arm:
        return Arm(name, usual.way, replace(recipe, loss=loss))

    return [
        Arm("both losses", usual.way, recipe),
        losing("cross-entropy", Objective(1.0, 0.0)),
        losing("denoising", Objective(0.0, 1000.0)),
        Arm(
            "in time",
            usual.way,
            replace(recipe, shape=replace(recipe.shape, interaction="time"), first=none),
        ),
        Arm(
            "additive",
            usual.way,
            replace(recipe, shape=replace(recipe.shape, interaction="additive"), first=none),
        ),
    ]


CENTRAL: Final = Study(
    "The central claims",
    _arms,
    (
        More("guided beats the bases alone", "gap event_f1", "both losses", BASES),
        More("both losses beat cross-entropy", "gap event_f1", "both losses", "cross-entropy"),
        More("both losses beat the denoising loss", "gap event_f1", "both losses", "denoising"),
        More("in time beats additive", "gap event_f1", "in time", "additive"),
        NoMore("the additive head aligns nothing", "gap event_f1", "additive", BASES),
        More(
            "both losses learn more of what a sound tells than cross-entropy",
            "joint: nats audio",
            "both losses",
            "cross-entropy",
        ),
    ),
)
