"""Intervals of noise levels in which joint guidance works."""

from dataclasses import replace
from typing import Final

from mmdisco.ablation.study import Arm, NoMore, Study, Usual
from mmdisco.pair import EVERY_LEVEL

INF: Final = float("inf")
INTERVALS_OF_LOG_SNR: Final = {
    "every level": EVERY_LEVEL,
    "ln snr above 0": (0.0, INF),
    "ln snr below 0": (-INF, 0.0),
    "ln snr −2 to 2": (-2.0, 2.0),
    "ln snr −4 to 4": (-4.0, 4.0),
}


def _arms(usual: Usual) -> list[Arm]:
    def arm(name: str, levels: tuple[float, float]) -> Arm:
        sampling = replace(usual.way.sampling, joint_levels=levels)
        return Arm(name, replace(usual.way, sampling=sampling))

    return [arm(name, levels) for name, levels in INTERVALS_OF_LOG_SNR.items()]


INTERVALS: Final = Study(
    "Guidance intervals",
    _arms,
    (
        NoMore(
            "the ends are not needed: every level is no better than −4 to 4",
            "gap event_f1",
            "every level",
            "ln snr −4 to 4",
        ),
    ),
)
