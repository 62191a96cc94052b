"""Length of the training: the paper's Figure 5, for our sizes."""

from dataclasses import replace
from fractions import Fraction
from typing import Final

from mmdisco.ablation.study import Arm, Study, Usual

SHARES: Final = (Fraction(1, 4), Fraction(1, 2), Fraction(1), Fraction(2))


def _arms(usual: Usual) -> list[Arm]:
    training = usual.recipe.training

    def arm(share: Fraction) -> Arm:
        steps = max(1, round(training.steps * share))
        # each with its own whole schedule of the learning rate
        recipe = replace(usual.recipe, training=replace(training, steps=steps))
        return Arm(f"{steps} steps", usual.way, recipe, float(steps))

    return [arm(share) for share in SHARES]


STEPS: Final = Study("Training steps", _arms, axis="training steps")
