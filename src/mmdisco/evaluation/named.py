"""Names of metrics and of features to objects: the only strings of an evaluation that select."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mmdisco.embedded.weights import Folder
from mmdisco.errors import UserError
from mmdisco.metrics.alignment import AvAlign, ObjectsAgreement, Synchrony
from mmdisco.metrics.av_align import CURRENT, VARIANTS
from mmdisco.metrics.extractors import (
    AudioStatistics,
    Judge,
    Objects,
    ObjectsAudio,
    ObjectsVideo,
    Peaks,
    VideoStatistics,
)
from mmdisco.metrics.features import AudioFeatures, VideoFeatures
from mmdisco.metrics.fidelity import Classes, Frechet, Kernel, Neighbourhood
from mmdisco.metrics.memorisation import NearestTraining
from mmdisco.metrics.metric import Metric
from mmdisco.metrics.readings import Extractor
from mmdisco.metrics.sync import load_judge

Features = Callable[[str], list[Extractor]]


@dataclass(frozen=True)
class Suite:
    """What an evaluation runs.

    Attributes:
        extractors: Each once.
        metrics: Over them.
    """

    extractors: list[Extractor]
    metrics: list[Metric]


OVER_FEATURES: Final[Mapping[str, Callable[[str], Metric]]] = {
    "frechet": Frechet,
    "kernel": Kernel,
    "neighbours": Neighbourhood,
    "nearest": NearestTraining,
}
OTHERS: Final[Mapping[str, tuple[Callable[[], Extractor], Sequence[Metric]]]] = {
    "av-align": (Peaks, (AvAlign(CURRENT),)),
    "av-align-variants": (Peaks, tuple(AvAlign(one) for one in VARIANTS)),
    "sync": (lambda: Judge(load_judge()), (Synchrony(),)),
    "objects": (Objects, (ObjectsAgreement(),)),
}
METRICS: Final = (*OVER_FEATURES, *OTHERS)
DEFAULT_METRICS: Final = ("frechet", "kernel", "neighbours", "nearest", "av-align", "sync")
DEFAULT_FEATURES: Final = ("statistics",)


def suite(metrics: Sequence[str], features: Sequence[str]) -> Suite:
    """Build what was asked for by name.

    Args:
        metrics: Of ``METRICS``.
        features: ``statistics``, ``objects``, or a network and its folder or hub id, as in
            ``clip:openai/clip-vit-base-patch32``.

    Raises:
        UserError: No such name, or a network that cannot be loaded.
    """
    for name in metrics:
        if name not in METRICS:
            raise UserError(f"unknown metric {name!r}: choose of {', '.join(METRICS)}")
    extractors: dict[str, Extractor] = {}
    chosen: list[Metric] = []
    over = [OVER_FEATURES[name] for name in metrics if name in OVER_FEATURES]
    for name in features if over else ():
        for one in features_of(name):
            extractors[one.name] = one
            chosen += [build(one.name) for build in over]
            if one.name.startswith(WITH_CLASSES):
                chosen.append(Classes(one.name))
    for name in metrics:
        if name in OTHERS:
            build, more = OTHERS[name]
            one = build()
            extractors[one.name] = one
            chosen += [metric for metric in more if metric not in chosen]
    return Suite(list(extractors.values()), chosen)


def features_of(name: str) -> list[Extractor]:
    """The extractors that a name of features stands for.

    Raises:
        UserError: No such name.
    """
    kind, _, path = name.partition(":")
    if kind not in FEATURES or bool(path) != (kind in NETWORKS):
        known = [*(f"{one}:FOLDER" if one in NETWORKS else one for one in FEATURES)]
        raise UserError(f"unknown features {name!r}: choose of {', '.join(known)}")
    return FEATURES[kind](path)


def _statistics(path: str) -> list[Extractor]:
    del path
    return [AudioStatistics(), VideoStatistics()]


def _objects(path: str) -> list[Extractor]:
    del path
    folder = Folder()
    return [
        ObjectsAudio(folder.load("audio_features", AudioFeatures())),
        ObjectsVideo(folder.load("video_features", VideoFeatures())),
    ]


def _clip(path: str) -> list[Extractor]:
    from mmdisco.metrics.networks import ClipFrames

    return [ClipFrames.load(path)]


def _clap(path: str) -> list[Extractor]:
    from mmdisco.metrics.networks import ClapSound

    return [ClapSound.load(path)]


def _videomae(path: str) -> list[Extractor]:
    from mmdisco.metrics.networks import VideoMae

    return [VideoMae.load(path)]


NETWORKS: Final[Mapping[str, Features]] = {"clip": _clip, "clap": _clap, "videomae": _videomae}
FEATURES: Final[Mapping[str, Features]] = {
    "statistics": _statistics,
    "objects": _objects,
    **NETWORKS,
}
WITH_CLASSES: Final = "videomae"
