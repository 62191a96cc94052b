"""The discriminator asked less often: at every second or third evaluation, or in an interval."""

from dataclasses import replace
from typing import Final

from mmdisco.ablation.study import Arm, NoMore, Study, Usual
from mmdisco.pair import EVERY_LEVEL

WITHOUT_ENDS: Final = (-4.0, 4.0)
TRIED: Final = {
    "every evaluation": (1, EVERY_LEVEL),
    "every 2nd": (2, EVERY_LEVEL),
    "every 3rd": (3, EVERY_LEVEL),
    "ln snr −4 to 4": (1, WITHOUT_ENDS),
    "ln snr −4 to 4, every 2nd": (2, WITHOUT_ENDS),
}


def _arms(usual: Usual) -> list[Arm]:
    def arm(name: str, every: int, levels: tuple[float, float]) -> Arm:
        sampling = replace(usual.way.sampling, guidance_every=every, joint_levels=levels)
        return Arm(name, replace(usual.way, sampling=sampling))

    return [arm(name, *tried) for name, tried in TRIED.items()]


REUSE: Final = Study(
    "A gradient for more than one evaluation",
    _arms,
    (
        NoMore(
            "a gradient serves two evaluations: every one is no better than every 2nd",
            "gap event_f1",
            "every evaluation",
            "every 2nd",
        ),
        NoMore(
            "a gradient serves three evaluations: every one is no better than every 3rd",
            "gap event_f1",
            "every evaluation",
            "every 3rd",
        ),
        NoMore(
            "the ends are not needed: every level is no better than −4 to 4",
            "gap event_f1",
            "every evaluation",
            "ln snr −4 to 4",
        ),
    ),
)
