"""Extractors that need no download: statistics, onsets and motion, sync scorer, small networks.

Each turns one clip into small arrays; they share only the interface.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Generic, TypeVar

import numpy as np
from torch import nn

from mmdisco.evaluation.metrics.av_align import audio_onsets, motion
from mmdisco.evaluation.metrics.features import Extractor, Record
from mmdisco.evaluation.metrics.low_level_features import audio_statistics, video_statistics
from mmdisco.evaluation.metrics.sounding_objects.detect_audio import detect_audio
from mmdisco.evaluation.metrics.sounding_objects.detect_video import detect_video
from mmdisco.evaluation.metrics.sounding_objects.feature_networks import (
    AudioFeatures,
    VideoFeatures,
    audio_features,
    video_features,
)
from mmdisco.evaluation.metrics.sync.network import RATE
from mmdisco.evaluation.metrics.sync.scorer import LEAST_STEPS, SyncScorer, embed
from mmdisco.media.clip import AudioVideo
from mmdisco.media.sounding_objects.scene import (
    FRAME_RATE,
    FRAMES,
    SAMPLE_RATE,
    SAMPLES,
    SIDE,
    Colour,
    ObjectKind,
    Size,
)

Network = TypeVar("Network", bound=nn.Module)

CODE: Final = "1"  # increased whenever the arithmetic of an extractor without weights changes
_TOO_SHORT: Final = "clips of at least {} s"


@dataclass(frozen=True)
class VideoStatistics(Extractor):
    """``video_statistics`` as features."""

    name = "video-statistics"
    version = "2"  # like CODE
    preprocessing = "frames as they are; grey is the mean of red, green and blue"

    def read(self, clip: AudioVideo) -> Record:
        """Compute ``features`` (27,)."""
        return {"features": video_statistics(clip.video)}


@dataclass(frozen=True)
class AudioStatistics(Extractor):
    """``audio_statistics`` as features."""

    name = "audio-statistics"
    version = CODE
    preprocessing = "16 kHz, 64 mel bins every 12.5 ms, natural logarithm from 0.001 up"

    def read(self, clip: AudioVideo) -> Record:
        """Compute ``features`` (42,)."""
        return {"features": audio_statistics(clip.audio)}


@dataclass(frozen=True)
class Peaks(Extractor):
    """Onsets and motion for AV-Align."""

    name = "peaks"
    version = CODE
    preprocessing = (
        "sound at 22.05 kHz, librosa onset_detect; Farnebäck flow (0.5, 3, 15, 3, 5, 1.2, 0) of "
        "grey frames at their own size and rate, mean magnitude"
    )

    def needs(self, clip: AudioVideo) -> str | None:
        """Require at least three frames, as needed for a local maximum."""
        return None if len(clip.video.frames) > 2 else "clips of at least 3 frames"

    def read(self, clip: AudioVideo) -> Record:
        """Compute ``onsets`` in seconds, ``motion`` (frames,) in pixels, ``fps`` (1,)."""
        return {
            "onsets": audio_onsets(clip.audio),
            "motion": motion(clip.video),
            "fps": np.array([float(clip.video.fps)]),
        }


@dataclass(frozen=True)
class _NetworkExtractor(Extractor, Generic[Network]):
    """A network with its weights.

    Attributes:
        network: The network.
    """

    network: Network

    @cached_property
    def version(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Hash of the weights."""
        return digest(self.network)


@dataclass(frozen=True)
class SyncEmbeddings(_NetworkExtractor[SyncScorer]):
    """Embeddings of the sync scorer."""

    name = "sync-scorer"
    preprocessing = "frames at 10 fps averaged to 32×32; 16 kHz, 64 mel bins every 12.5 ms"

    def needs(self, clip: AudioVideo) -> str | None:
        """Require the minimum length for a rhythm."""
        seconds = min(clip.video.seconds, clip.audio.seconds)
        least = LEAST_STEPS / RATE
        return None if seconds * RATE >= LEAST_STEPS else _TOO_SHORT.format(least)

    def read(self, clip: AudioVideo) -> Record:
        """Compute ``heard`` and ``seen``, (steps, width) each."""
        heard, seen = embed(self.network, clip)
        return {"heard": heard, "seen": seen}


@dataclass(frozen=True)
class ObjectsVideo(_NetworkExtractor[VideoFeatures]):
    """Small video network of sounding objects."""

    name = "objects-video"
    preprocessing = "16 frames of 64×64 at 10 fps as they are"

    def needs(self, clip: AudioVideo) -> str | None:
        """Require exactly the format it was trained on."""
        return _objects_form(clip)

    def read(self, clip: AudioVideo) -> Record:
        """Compute ``features`` (64,)."""
        return {"features": video_features(self.network, [clip.video])[0]}


@dataclass(frozen=True)
class ObjectsAudio(_NetworkExtractor[AudioFeatures]):
    """Small audio network of sounding objects."""

    name = "objects-audio"
    preprocessing = "1.6 s at 16 kHz, 64 mel bins every 12.5 ms"

    def needs(self, clip: AudioVideo) -> str | None:
        """Require exactly the format it was trained on."""
        return _objects_form(clip)

    def read(self, clip: AudioVideo) -> Record:
        """Compute ``features`` (64,)."""
        return {"features": audio_features(self.network, [clip.audio])[0]}


@dataclass(frozen=True)
class Objects(Extractor):
    """Attributes of a sounding object, detected in pixels and samples without a network.

    ``seen`` and ``heard`` are (kind, colour, size) as indices of their enumerations, −1 for none.
    """

    name = "objects"
    version = CODE
    preprocessing = "16 frames of 64×64 at 10 fps and 1.6 s at 16 kHz as they are"

    def needs(self, clip: AudioVideo) -> str | None:
        """Require exactly the format that is detected."""
        return _objects_form(clip)

    def read(self, clip: AudioVideo) -> Record:
        """Detect ``seen``, ``heard`` (3,), and ``seen_events``, ``heard_events`` in seconds."""
        sight, hearing = detect_video(clip.video), detect_audio(clip.audio)
        return {
            "seen": _places(sight.kind, sight.colour, sight.size),
            "seen_events": np.asarray(sight.events, np.float64),
            "heard": _places(hearing.kind, hearing.colour, hearing.size),
            "heard_events": np.asarray(hearing.events, np.float64),
        }


def digest(network: nn.Module, settings: str = "") -> str:
    """Return the beginning of the SHA-256 of a network's weights, in the order of their names.

    ``settings`` is whatever else affects its features.
    """
    sum_ = hashlib.sha256(settings.encode())
    for name, value in sorted(network.state_dict().items()):
        sum_.update(name.encode())
        sum_.update(value.detach().cpu().contiguous().numpy().tobytes())
    return sum_.hexdigest()[:12]


def _places(kind: ObjectKind | None, colour: Colour | None, size: Size | None) -> np.ndarray:
    pairs = ((ObjectKind, kind), (Colour, colour), (Size, size))
    return np.array([-1 if one is None else list(all_).index(one) for all_, one in pairs])  # pyright: ignore[reportArgumentType]


def _objects_form(clip: AudioVideo) -> str | None:
    given = (clip.video.frames.shape, clip.video.fps, len(clip.audio.waveform))
    fits = given == ((FRAMES, SIDE, SIDE, 3), FRAME_RATE, SAMPLES)
    if fits and clip.audio.sample_rate == SAMPLE_RATE:
        return None
    return "clips of 16 frames of 64×64 at 10 fps with 1.6 s of sound at 16 kHz"
