"""Joint scale of either modality."""

from dataclasses import replace
from typing import Final

from mmdisco.ablation.study import BASES, Arm, More, Study, Usual
from mmdisco.av import AV

SCALES_OF_BOTH: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
SCALES_OF_ONE: Final = (1.0, 4.0)


def _arms(usual: Usual) -> list[Arm]:
    def arm(audio: float, video: float, series: str) -> Arm:
        sampling = replace(usual.way.sampling, joint_scale=AV(audio, video))
        name = f"audio {audio:g}, video {video:g}"
        return Arm(name, replace(usual.way, sampling=sampling), None, max(audio, video), series)

    return [
        *(arm(scale, scale, "both") for scale in SCALES_OF_BOTH),
        *(arm(scale, 0.0, "audio alone") for scale in SCALES_OF_ONE),
        *(arm(0.0, scale, "video alone") for scale in SCALES_OF_ONE),
    ]


SCALES: Final = Study(
    "Joint scales",
    _arms,
    (More("guided beats the bases alone", "gap event_f1", "audio 1, video 1", BASES),),
    axis="joint scale",
)
