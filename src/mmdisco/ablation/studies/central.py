"""The central claims, with the fewest arms that can tell."""

from dataclasses import replace
from typing import Final

from mmdisco.ablation.studies.interaction import meeting
from mmdisco.ablation.studies.loss import losing
from mmdisco.ablation.study import BASES, Arm, More, NoMore, Study, Usual
from mmdisco.training.losses import Objective


def _arms(usual: Usual) -> list[Arm]:
    recipe = usual.recipe
    # what has no products has no contrast before, and gets its steps too
    longer = replace(recipe.training, steps=recipe.training.steps + recipe.first.steps)
    as_long = replace(usual, recipe=replace(recipe, training=longer))
    return [
        Arm("both losses", usual.way, recipe),
        losing(usual, "cross-entropy", Objective(1.0, 0.0)),
        losing(usual, "denoising", Objective(0.0, 1000.0)),
        meeting(as_long, "attention in time", "time"),
        meeting(as_long, "additive", "additive"),
    ]


CENTRAL: Final = Study(
    "The central claims",
    _arms,
    (
        More("guided beats the bases alone", "gap event_f1", "both losses", BASES),
        More("both losses beat cross-entropy", "gap event_f1", "both losses", "cross-entropy"),
        More("both losses beat the denoising loss", "gap event_f1", "both losses", "denoising"),
        More(
            "both losses learn more of what a sound tells than cross-entropy",
            "joint: nats audio",
            "both losses",
            "cross-entropy",
        ),
        More(
            "both losses learn more of what a sound tells than the denoising loss",
            "joint: nats audio",
            "both losses",
            "denoising",
        ),
        More("products in time beat additive", "gap event_f1", "both losses", "additive"),
        More(
            "attention in time, without products, beats additive",
            "gap event_f1",
            "attention in time",
            "additive",
        ),
        NoMore("the additive head aligns nothing", "gap event_f1", "additive", BASES),
    ),
)
