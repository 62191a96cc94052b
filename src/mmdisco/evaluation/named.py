"""Names of metrics and of features to objects: the only strings of an evaluation that select."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mmdisco.errors import UserError
from mmdisco.evaluation.feature_names import Features, features_of
from mmdisco.metrics.alignment import AvAlign, ObjectsAgreement, Synchrony
from mmdisco.metrics.av_align import CURRENT, VARIANTS
from mmdisco.metrics.extractors import Judge, Objects, Peaks
from mmdisco.metrics.fidelity import Classes, Frechet, Kernel, Neighbourhood
from mmdisco.metrics.memorisation import NearestTraining
from mmdisco.metrics.metric import Metric
from mmdisco.metrics.readings import Extractor
from mmdisco.metrics.sync import load_judge


@dataclass(frozen=True)
class Suite:
    """What an evaluation runs.

    Attributes:
        extractors: Each once.
        metrics: Over them.
    """

    extractors: list[Extractor]
    metrics: list[Metric]


OVER_FEATURES: Final[Mapping[str, Callable[[str, Features], Metric]]] = {
    "frechet": lambda name, given: Frechet(name, given.whitening),
    "kernel": lambda name, _: Kernel(name),
    "neighbours": lambda name, _: Neighbourhood(name),
    "nearest": lambda name, _: NearestTraining(name),
}
OTHERS: Final[Mapping[str, tuple[Callable[[], Extractor], Sequence[Metric]]]] = {
    "av-align": (Peaks, (AvAlign(CURRENT),)),
    "av-align-variants": (Peaks, tuple(AvAlign(one) for one in VARIANTS)),
    "sync": (lambda: Judge(load_judge()), (Synchrony(),)),
    "objects": (Objects, (ObjectsAgreement(),)),
}
OF_NETWORKS: Final[Mapping[str, tuple[str, Callable[[Features], Sequence[Metric]]]]] = {
    "text": ("clip:MODEL or clap:MODEL", lambda given: given.text()),
    "cross-modal": ("exported:FILE.json of a shared space", lambda given: given.across),
}
OFFLINE_METRICS: Final = (*OVER_FEATURES, *OTHERS)
METRICS: Final = (*OFFLINE_METRICS, *OF_NETWORKS)
# between them they see every fault of docs/evaluation/degradations.md that any metric sees
DEFAULT_METRICS: Final = ("frechet", "neighbours", "nearest", "sync")
DEFAULT_FEATURES: Final = ("statistics",)


def suite(metrics: Sequence[str], features: Sequence[str]) -> Suite:
    """Build what was asked for by name.

    Args:
        metrics: Of ``METRICS``.
        features: ``statistics``, ``objects``, or a network and its folder, hub id or file, as in
            ``clip:openai/clip-vit-base-patch32``.

    Raises:
        UserError: No such name, a network that cannot be loaded, or a metric without the features
            that it is of.
    """
    given = _given(metrics, features)
    return Suite(_extractors(metrics, given), _metrics(metrics, given))


def extractors_of(metrics: Sequence[str], features: Sequence[str]) -> list[Extractor]:
    """The extractors of ``suite``, without what only measuring needs."""
    return _extractors(metrics, _given(metrics, features))


def _given(metrics: Sequence[str], features: Sequence[str]) -> list[Features]:
    for name in metrics:
        if name not in METRICS:
            raise UserError(f"unknown metric {name!r}: choose of {', '.join(METRICS)}")
    wanted = OVER_FEATURES.keys() | OF_NETWORKS.keys()
    return [features_of(name) for name in features] if wanted & set(metrics) else []


def _extractors(metrics: Sequence[str], given: Sequence[Features]) -> list[Extractor]:
    found = {one.name: one for features in given for one in features.extractors}
    for name in metrics:
        if name in OTHERS:
            one = OTHERS[name][0]()
            found[one.name] = one
    return list(found.values())


def _metrics(metrics: Sequence[str], given: Sequence[Features]) -> list[Metric]:
    over = [OVER_FEATURES[name] for name in metrics if name in OVER_FEATURES]
    chosen: list[Metric] = []
    for one in given:
        chosen += [build(extractor.name, one) for extractor in one.extractors for build in over]
        chosen += [Classes(name) for name in one.classes if over]
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
