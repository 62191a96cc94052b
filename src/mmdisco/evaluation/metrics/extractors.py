"""Extractors that need no download: statistics, onsets and motion, sync scorer, small networks.

Each turns one clip into small arrays; they share only the interface.

Low-level statistics are loudness, brightness, sharpness and change. They need no weights and no
fixed size, and respond to low-level faults (noise, blur, missing bands, silence, frozen or
disordered frames), not to content. All are logarithms or lie around 1, so that no feature dominates
the others by its unit.
"""

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from mmdisco.evaluation.metrics.av_align import audio_onsets, motion
from mmdisco.evaluation.metrics.features import Extractor, Record
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
from mmdisco.media.clip import Audio, AudioVideo, Video
from mmdisco.media.mel import MelScale
from mmdisco.media.read import resampled
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

Statistics = npt.NDArray[np.float32]

_OCTAVES: Final = 4
_LAGS: Final = (1, 2, 4)  # frames
_COLUMN_LAGS: Final = (1, 4, 16)  # of 12.5 ms
_BANDS: Final = 12
_LEAST: Final = 3e-3  # of the range of a pixel: below the last bit of 8
_NEPERS: Final = math.log(500) / 2  # of one unit of the spectrogram
_LEAST_CHANGE: Final = 0.05  # nepers
_SAMPLE_RATE: Final = 16_000


def video_statistics(video: Video) -> Statistics:
    """Compute colour, detail by octave, change by octave and lag, jerk, floors and layout: (27,).

    The floors are values that detail and change exceed in half of all places: noise is everywhere,
    edges and motion are not.
    """
    frames = torch.from_numpy(video.frames).movedim(3, 1)
    grey = frames.mean(1, keepdim=True)
    warmth, tint = frames[:, 0] - frames[:, 2], frames[:, 1] - (frames[:, 0] + frames[:, 2]) / 2
    found = [grey.mean(), warmth.mean(), tint.mean()]
    found += [_log(part.flatten(1).std(1, correction=0)) for part in (grey, warmth, tint)]
    found += _by_octave(grey)
    found += _by_octave(_change(grey, 1))
    found += [_log_rms(_change(grey, lag)) for lag in _LAGS]
    found.append(_log_rms(_change(_change(grey, 1), 1)))
    energy = _change(grey, 1).square().mean((1, 2, 3)).sqrt()
    found += [_log(energy.std(correction=0)), _log(energy.max())]
    bend, change = _bend(grey), _change(grey, 1)
    found += [_log(bend.abs().median()), _log(change.abs().median())]
    # about ln 3 / 2 for shuffled frames, below 0 for smooth motion
    found.append(_log_rms(_change(change, 1)) - _log_rms(change))
    found += list(interpolate(grey, (2, 2), mode="area").mean(0).flatten())
    return torch.stack([torch.as_tensor(one) for one in found]).numpy().astype(np.float32)


def audio_statistics(audio: Audio) -> Statistics:
    """Compute level, spread and change by band, change by lag, and loudness: (42,)."""
    scale = MelScale()
    heard = resampled(audio, _SAMPLE_RATE).waveform
    heard = np.pad(heard, (0, max(0, 32 * scale.hop - len(heard))))
    mel = scale.analyse(torch.from_numpy(heard)[None])[0, 0] * _NEPERS
    bands = torch.stack([part.mean(1) for part in mel.tensor_split(_BANDS, 1)], 1)
    moved = (mel[1:] - mel[:-1]).abs()
    liveliness = torch.stack([part.mean() for part in moved.tensor_split(_BANDS, 1)])
    loudness = mel.mean(1)
    found = [bands.mean(0), bands.std(0), (liveliness + _LEAST_CHANGE).log()]
    changes = [(loudness[lag:] - loudness[:-lag]).square().mean().sqrt() for lag in _COLUMN_LAGS]
    found.append((torch.stack(changes) + _LEAST_CHANGE).log())
    found.append(torch.stack([loudness.mean(), loudness.std(), loudness.max()]))
    return torch.cat(found).numpy().astype(np.float32)


def _change(frames: Tensor, lag: int) -> Tensor:
    """Compute differences ``lag`` frames apart; a single difference of 0 for too few frames."""
    if len(frames) <= lag:
        return torch.zeros_like(frames[:1])
    return frames[lag:] - frames[:-lag]


def _bend(grey: Tensor) -> Tensor:
    """Compute second differences along rows; a single one of 0 for too few columns."""
    if grey.shape[3] < 3:
        return torch.zeros_like(grey[:1])
    return grey[..., 2:] - 2 * grey[..., 1:-1] + grey[..., :-2]


def _by_octave(grey: Tensor) -> list[Tensor]:
    """Compute the log RMS of what each halving of the size removes, finest first."""
    found: list[Tensor] = []
    for _ in range(_OCTAVES):
        height, width = grey.shape[2:]
        if min(height, width) < 2:
            found.append(torch.tensor(math.log(_LEAST)))
            continue
        half = avg_pool2d(grey, 2)
        even = grey[..., : 2 * half.shape[2], : 2 * half.shape[3]]
        found.append(_log_rms(even - interpolate(half, scale_factor=2.0, mode="nearest")))
        grey = half
    return found


def _log_rms(values: Tensor) -> Tensor:
    return _log(values.square().mean().sqrt())


def _log(values: Tensor) -> Tensor:
    return (values.mean() + _LEAST).log()


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
