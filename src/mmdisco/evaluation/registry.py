"""Registry of metrics and feature sets by name; an evaluation selects nothing else by strings.

Names of features map to extractors, and to the metrics that these allow.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mmdisco.errors import UserError
from mmdisco.evaluation.metrics.alignment import AvAlign, ObjectsAgreement, Synchrony
from mmdisco.evaluation.metrics.av_align import CURRENT, VARIANTS
from mmdisco.evaluation.metrics.base import Metric
from mmdisco.evaluation.metrics.distances import Whitening
from mmdisco.evaluation.metrics.extractors import (
    AudioStatistics,
    Objects,
    ObjectsAudio,
    ObjectsVideo,
    Peaks,
    SyncEmbeddings,
    VideoStatistics,
)
from mmdisco.evaluation.metrics.features import Extractor
from mmdisco.evaluation.metrics.fidelity import (
    PRDC,
    FrechetDistance,
    InceptionScore,
    KernelDistance,
)
from mmdisco.evaluation.metrics.joint_space import CrossModal, TextAgreement
from mmdisco.evaluation.metrics.memorization import NearestTraining
from mmdisco.evaluation.metrics.sounding_objects.feature_networks import (
    AudioFeatures,
    VideoFeatures,
)
from mmdisco.evaluation.metrics.sync.scorer import load_scorer
from mmdisco.generation.presets.miniature import MiniatureSystem


def _none() -> list[Metric]:
    return []


@dataclass(frozen=True)
class FeatureSet:
    """Extractors and metrics of one name.

    Attributes:
        extractors: Extractors of features.
        classes: Names of those that give logits too.
        text: Builds metrics of agreement with prompts, loading what they need.
        across: Metrics of audio-video agreement, where the extractors share a space.
        whitening: Whitening for Fréchet distances; none for networks with published reference
            values.
    """

    extractors: list[Extractor]
    classes: tuple[str, ...] = ()
    text: Callable[[], list[Metric]] = _none
    across: tuple[Metric, ...] = ()
    whitening: Whitening | None = None


def features_of(name: str) -> FeatureSet:
    """Look up a feature set by name.

    Raises:
        UserError: No such name, or a network that cannot be loaded.
    """
    kind, _, path = name.partition(":")
    if kind not in FEATURES or bool(path) != (kind in NETWORKS):
        known = [*(f"{one}:{NETWORKS.get(one, '')}".rstrip(":") for one in FEATURES)]
        raise UserError(f"unknown features {name!r}: choose of {', '.join(known)}")
    return FEATURES[kind](path)


def _statistics(path: str) -> FeatureSet:
    del path
    return FeatureSet([AudioStatistics(), VideoStatistics()], whitening=Whitening())


def _objects(path: str) -> FeatureSet:
    del path
    folder = MiniatureSystem()
    return FeatureSet(
        [
            ObjectsAudio(folder.load("audio_features", AudioFeatures)),
            ObjectsVideo(folder.load("video_features", VideoFeatures)),
        ]
    )


# transformers and its dependencies take seconds to import


def _clip(path: str) -> FeatureSet:
    from transformers import CLIPTextModelWithProjection

    from mmdisco.evaluation.metrics.clip_clap_videomae import ClipFrames

    return FeatureSet(
        [ClipFrames.load(path)], text=_text(ClipFrames.name, path, CLIPTextModelWithProjection)
    )


def _clap(path: str) -> FeatureSet:
    from transformers import ClapTextModelWithProjection

    from mmdisco.evaluation.metrics.clip_clap_videomae import ClapSound

    return FeatureSet(
        [ClapSound.load(path)], text=_text(ClapSound.name, path, ClapTextModelWithProjection)
    )


def _text(extractor: str, path: str, kind: Any) -> Callable[[], list[Metric]]:
    def build() -> list[Metric]:
        from mmdisco.evaluation.metrics.clip_clap_videomae import TextNetwork

        return [TextAgreement(extractor, TextNetwork.load(kind, path))]

    return build


def _videomae(path: str) -> FeatureSet:
    from mmdisco.evaluation.metrics.clip_clap_videomae import VideoMae

    return FeatureSet([VideoMae.load(path)], (VideoMae.name,))


def _exported(path: str) -> FeatureSet:
    from mmdisco.evaluation.metrics.exported import exported, read_form

    form = read_form(Path(path))
    found = exported(form)
    classes = tuple(one.name for one in found if one.form.logits is not None)
    across = (CrossModal(found[0].name, found[1].name),) if form.shared else ()
    return FeatureSet([*found], classes, across=across)


NETWORKS: Final[Mapping[str, str]] = {
    "clip": "MODEL",
    "clap": "MODEL",
    "videomae": "MODEL",
    "exported": "FILE.json",
}
FEATURES: Final[Mapping[str, Callable[[str], FeatureSet]]] = {
    "statistics": _statistics,
    "objects": _objects,
    "clip": _clip,
    "clap": _clap,
    "videomae": _videomae,
    "exported": _exported,
}


@dataclass(frozen=True)
class MetricSuite:
    """Extractors and metrics of an evaluation.

    Attributes:
        extractors: Extractors, each once.
        metrics: Metrics over their records.
    """

    extractors: list[Extractor]
    metrics: list[Metric]


OVER_FEATURES: Final[Mapping[str, Callable[[str, FeatureSet], Metric]]] = {
    "frechet": lambda name, given: FrechetDistance(name, given.whitening),
    "kernel": lambda name, _: KernelDistance(name),
    "neighbours": lambda name, _: PRDC(name),
    "nearest": lambda name, _: NearestTraining(name),
}
OTHERS: Final[Mapping[str, tuple[Callable[[], Extractor], Sequence[Metric]]]] = {
    "av-align": (Peaks, (AvAlign(CURRENT),)),
    "av-align-variants": (Peaks, tuple(AvAlign(one) for one in VARIANTS)),
    "sync": (lambda: SyncEmbeddings(load_scorer()), (Synchrony(),)),
    "objects": (Objects, (ObjectsAgreement(),)),
}
OF_NETWORKS: Final[Mapping[str, tuple[str, Callable[[FeatureSet], Sequence[Metric]]]]] = {
    "text": ("clip:MODEL or clap:MODEL", lambda given: given.text()),
    "cross-modal": ("exported:FILE.json of a shared space", lambda given: given.across),
}
OFFLINE_METRICS: Final = (*OVER_FEATURES, *OTHERS)
METRICS: Final = (*OFFLINE_METRICS, *OF_NETWORKS)
# together they detect every fault of docs/evaluation/degradations.md that any metric detects


def suite(metrics: Sequence[str], features: Sequence[str]) -> MetricSuite:
    """Build the suite of the given names.

    Args:
        metrics: Names in ``METRICS``.
        features: ``statistics``, ``objects``, or a network and its folder, hub id or file, as in
            ``clip:openai/clip-vit-base-patch32``.

    Raises:
        UserError: No such name, a network that cannot be loaded, or a metric without the features
            that it needs.
    """
    given = _given(metrics, features)
    return MetricSuite(_extractors(metrics, given), _metrics(metrics, given))


def extractors_of(metrics: Sequence[str], features: Sequence[str]) -> list[Extractor]:
    """Build the extractors of ``suite``, without what only measuring needs."""
    return _extractors(metrics, _given(metrics, features))


def _given(metrics: Sequence[str], features: Sequence[str]) -> list[FeatureSet]:
    for name in metrics:
        if name not in METRICS:
            raise UserError(f"unknown metric {name!r}: choose of {', '.join(METRICS)}")
    wanted = OVER_FEATURES.keys() | OF_NETWORKS.keys()
    return [features_of(name) for name in features] if wanted & set(metrics) else []


def _extractors(metrics: Sequence[str], given: Sequence[FeatureSet]) -> list[Extractor]:
    found = {one.name: one for features in given for one in features.extractors}
    for name in metrics:
        if name in OTHERS:
            one = OTHERS[name][0]()
            found[one.name] = one
    return list(found.values())


def _metrics(metrics: Sequence[str], given: Sequence[FeatureSet]) -> list[Metric]:
    over = [OVER_FEATURES[name] for name in metrics if name in OVER_FEATURES]
    chosen: list[Metric] = []
    for one in given:
        chosen += [build(extractor.name, one) for extractor in one.extractors for build in over]
        chosen += [InceptionScore(name) for name in one.classes if over]
    for name in metrics:
        if name in OF_NETWORKS:
            wanted, build = OF_NETWORKS[name]
            found = [metric for one in given for metric in build(one)]
            if not found:
                raise UserError(f"the metric {name!r} needs --features {wanted}")
            chosen += found
        if name in OTHERS:
            chosen += [metric for metric in OTHERS[name][1] if metric not in chosen]
    return chosen
