"""The central claims, with the fewest arms that can tell."""

from typing import Final

from mmdisco.ablation.studies.interaction import meeting
from mmdisco.ablation.studies.loss import losing
from mmdisco.ablation.study import BASES, Arm, More, NoMore, Study, Usual
from mmdisco.training.losses import Objective


def _arms(usual: Usual) -> list[Arm]:
    return [
        Arm("both losses", usual.way, usual.recipe),
        losing(usual, "cross-entropy", Objective(1.0, 0.0)),
        losing(usual, "denoising", Objective(0.0, 1000.0)),
        meeting(usual, "in time", "time"),
        meeting(usual, "additive", "additive"),
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
