"""What real pairs are told from: what the bases made, real clips put together anew, or both."""

from dataclasses import replace
from typing import Final

from mmdisco.ablation.study import Arm, More, Study, Usual


def _arms(usual: Usual) -> list[Arm]:
    shares = {"generated": 0.0, "mixed": 0.5, "shuffled reals": 1.0}

    def arm(name: str, share: float) -> Arm:
        fakery = replace(usual.recipe.fakery, shuffled=share)
        return Arm(name, usual.way, replace(usual.recipe, fakery=fakery), share)

    return [arm(name, share) for name, share in shares.items()]


FAKES: Final = Study(
    "Fake pairs",
    _arms,
    (
        More("mixed beats generated", "gap event_f1", "mixed", "generated"),
        More("mixed beats shuffled reals", "gap event_f1", "mixed", "shuffled reals"),
    ),
    axis="share of shuffled reals",
)
