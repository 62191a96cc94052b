"""Names of features to the extractors they stand for, and to what these can be held against."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mmdisco.embedded.weights import Folder
from mmdisco.errors import UserError
from mmdisco.metrics.cross_modal import CrossModal
from mmdisco.metrics.extractors import (
    AudioStatistics,
    ObjectsAudio,
    ObjectsVideo,
    VideoStatistics,
)
from mmdisco.metrics.features import AudioFeatures, VideoFeatures
from mmdisco.metrics.metric import Metric
from mmdisco.metrics.readings import Extractor
from mmdisco.metrics.whitening import Whitening


def _none() -> list[Metric]:
    return []


@dataclass(frozen=True)
class Features:
    """What one name of features brings.

    Attributes:
        extractors: That give features.
        classes: Names of those among them that give logits too.
        text: Builds metrics of agreement with prompts, loading what they need.
        across: Metrics of agreement of both sides, where they share a space.
        whitening: For Fréchet distances; none for networks whose figures others publish too.
    """

    extractors: list[Extractor]
    classes: tuple[str, ...] = ()
    text: Callable[[], list[Metric]] = _none
    across: tuple[Metric, ...] = ()
    whitening: Whitening | None = None


def features_of(name: str) -> Features:
    """What a name of features stands for.

    Raises:
        UserError: No such name, or a network that cannot be loaded.
    """
    kind, _, path = name.partition(":")
    if kind not in FEATURES or bool(path) != (kind in NETWORKS):
        known = [*(f"{one}:{NETWORKS.get(one, '')}".rstrip(":") for one in FEATURES)]
        raise UserError(f"unknown features {name!r}: choose of {', '.join(known)}")
    return FEATURES[kind](path)


def _statistics(path: str) -> Features:
    del path
    return Features([AudioStatistics(), VideoStatistics()], whitening=Whitening())


def _objects(path: str) -> Features:
    del path
    folder = Folder()
    return Features(
        [
            ObjectsAudio(folder.load("audio_features", AudioFeatures)),
            ObjectsVideo(folder.load("video_features", VideoFeatures)),
        ]
    )


# transformers and what it needs take seconds to import


def _clip(path: str) -> Features:
    from mmdisco.metrics.networks import ClipFrames

    def text() -> list[Metric]:
        from mmdisco.metrics.text import TextAgreement
        from mmdisco.metrics.text_networks import TextNetwork

        return [TextAgreement(ClipFrames.name, TextNetwork.clip(path))]

    return Features([ClipFrames.load(path)], text=text)


def _clap(path: str) -> Features:
    from mmdisco.metrics.networks import ClapSound

    def text() -> list[Metric]:
        from mmdisco.metrics.text import TextAgreement
        from mmdisco.metrics.text_networks import TextNetwork

        return [TextAgreement(ClapSound.name, TextNetwork.clap(path))]

    return Features([ClapSound.load(path)], text=text)


def _videomae(path: str) -> Features:
    from mmdisco.metrics.networks import VideoMae

    return Features([VideoMae.load(path)], (VideoMae.name,))


def _exported(path: str) -> Features:
    from mmdisco.metrics.exported import exported
    from mmdisco.metrics.exported_form import read_form

    form = read_form(Path(path))
    found = exported(form)
    classes = tuple(one.name for one in found if one.form.logits is not None)
    across = (CrossModal(found[0].name, found[1].name),) if form.shared else ()
    return Features([*found], classes, across=across)


NETWORKS: Final[Mapping[str, str]] = {
    "clip": "MODEL",
    "clap": "MODEL",
    "videomae": "MODEL",
    "exported": "FILE.json",
}
FEATURES: Final[Mapping[str, Callable[[str], Features]]] = {
    "statistics": _statistics,
    "objects": _objects,
    "clip": _clip,
    "clap": _clap,
    "videomae": _videomae,
    "exported": _exported,
}
