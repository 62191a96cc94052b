"""Cross-entropy, the denoising loss, and both over λ."""

from dataclasses import replace
from typing import Final

from mmdisco.ablation.study import BASES, Arm, More, Study, Usual
from mmdisco.training.losses import Objective

LAMBDAS: Final = (10.0, 100.0, 1000.0, 10_000.0)


def losing(usual: Usual, name: str, loss: Objective) -> Arm:
    """The usual training with another loss."""
    return Arm(name, usual.way, replace(usual.recipe, loss=loss))


def _arms(usual: Usual) -> list[Arm]:
    losses = {
        "cross-entropy": Objective(1.0, 0.0),
        "denoising": Objective(0.0, 1000.0),
        **{f"both, λ = {weight:g}": Objective(1.0, weight) for weight in LAMBDAS},
    }
    return [losing(usual, name, loss) for name, loss in losses.items()]


LOSS: Final = Study(
    "Loss function",
    _arms,
    (
        More("guided beats the bases alone", "gap event_f1", "both, λ = 1000", BASES),
        More("both beat cross-entropy", "gap event_f1", "both, λ = 1000", "cross-entropy"),
        More("both beat the denoising loss", "gap event_f1", "both, λ = 1000", "denoising"),
    ),
)
