"""Networks exported to ONNX as extractors, configured by a JSON file.

I3D, VGGish, PANNs, ImageBind and PE-AV are published with code of their own; exported once, each is
a graph that needs none. A file whose SHA-256 is not the declared one is not run.

The JSON file describes the network and its preprocessing. It has a setting for everything in which
published networks differ; nothing is guessed from the weights.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import interpolate
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from mmdisco.errors import UserError
from mmdisco.evaluation.metrics.clip_clap_videomae import evenly_spaced
from mmdisco.evaluation.metrics.features import Extractor, Record
from mmdisco.evaluation.metrics.onnx_network import Array, OnnxNetwork
from mmdisco.io.files import read_object
from mmdisco.io.settings import Settings
from mmdisco.media.clip import Audio, AudioVideo, Video
from mmdisco.media.read import resampled

Part = int | str | None

_Side = Annotated[int, Field(ge=1, le=4_096)]
_Spread = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Network(Settings):
    """A file, and which of its outputs are used."""

    file: Path = Field(strict=False)
    """ONNX file; beside the JSON unless the path is absolute."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Checksum of the file; no other is run."""
    output: Part = None
    """Index or name of the features among the outputs; None is the only one."""
    logits: Part = None
    """Index or name of the class logits; None is none."""


class VideoNetwork(Network):
    """A video network, whose input is (value − mean) / std of frames in [0, 1]."""

    frames: int | None = Field(default=None, ge=1, le=1_000)
    """Number of evenly spaced frames, first and last included; None is all."""
    size: tuple[_Side, _Side] | None = None
    """(height, width) that frames are resized to, bilinear and antialiased."""
    crop: bool = False
    """Whether the centre is cropped to the aspect ratio of ``size`` first."""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Mean of red, green and blue."""
    std: tuple[_Spread, _Spread, _Spread] = (1.0, 1.0, 1.0)
    """Standard deviation of red, green and blue."""
    layout: Literal["bcthw", "btchw", "bthwc", "tchw"] = "bcthw"
    """Order of axes, b one, t frames; without b frames are the batch."""


class AudioNetwork(Network):
    """An audio network."""

    form: Literal["bn", "b1n", "vggish"]
    """Input: ``bn`` is a waveform (1, samples), ``b1n`` (1, 1, samples), ``vggish`` VGGish's
    log-mel patches (patches, 1, 96, 64)."""
    rate: int = Field(default=16_000, ge=1_000, le=384_000)
    """Samples per second; 16,000 for ``vggish``."""
    seconds: float | None = Field(default=None, gt=0, le=600)
    """Length to which sounds are cut or padded with silence; None leaves them."""


class ExportedConfig(Settings):
    """One network, or one per modality."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    """Short name for reports."""
    sees: VideoNetwork | None = None
    """Video network."""
    hears: AudioNetwork | None = None
    """Audio network."""
    shared: bool = False
    """Whether both embed into one space, to be compared by cosine."""

    @model_validator(mode="after")
    def _whole(self) -> "ExportedConfig":
        if self.sees is None and self.hears is None:
            raise ValueError("give sees, hears or both")
        if self.shared and (self.sees is None or self.hears is None):
            raise ValueError("a shared space needs both sees and hears")
        return self


def read_form(path: Path) -> ExportedConfig:
    """Read a configuration; paths of files are resolved.

    Raises:
        UserError: The file cannot be read, or a setting is unknown, missing or of a wrong type.
    """
    form = ExportedConfig.of_tree(read_object(path), str(path))

    def whole(one: Network) -> dict[str, Path]:
        return {"file": path.parent / one.file}

    return form.model_copy(
        update={
            "sees": form.sees and form.sees.model_copy(update=whole(form.sees)),
            "hears": form.hears and form.hears.model_copy(update=whole(form.hears)),
        }
    )


_AXES: Final = "tchw"  # order of the axes of frames before layout
_MOST_PIXELS: Final = 2**26  # 300 frames of 448x448 are fewer


@dataclass(frozen=True)
class _Exported(Extractor):
    """Base class of both modalities.

    Attributes:
        name: Name of the network, with the modality if there are two.
        form: Configuration.
        network: The network.
    """

    name: str  # pyright: ignore[reportIncompatibleVariableOverride]
    form: Network
    network: OnnxNetwork

    @property
    def version(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Hash of the file, then of the settings."""
        settings = hashlib.sha256(self.preprocessing.encode()).hexdigest()
        return f"{self.form.sha256[:12]}-{settings[:4]}"

    @cached_property
    def preprocessing(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """All settings except the file."""
        return self.form.model_dump_json(exclude={"file", "sha256"})

    def _record(self, given: Tensor) -> Record:
        found = self.network(given.numpy())
        record = {"features": _vector(found, self.form.output, self.name)}
        if self.form.logits is not None:
            record["logits"] = _vector(found, self.form.logits, self.name)
        return record


@dataclass(frozen=True)
class ExportedPicture(_Exported):
    """An exported video network."""

    form: VideoNetwork  # pyright: ignore[reportIncompatibleVariableOverride]

    def read(self, clip: AudioVideo) -> Record:
        """Compute ``features``, and ``logits`` if there are any."""
        return self._record(picture_for(self.form, clip.video))


@dataclass(frozen=True)
class ExportedSound(_Exported):
    """An exported audio network."""

    form: AudioNetwork  # pyright: ignore[reportIncompatibleVariableOverride]

    def needs(self, clip: AudioVideo) -> str | None:
        """Require at least one patch of VGGish."""
        patches = self.form.form == "vggish"
        lasts = self.form.seconds or float(clip.audio.seconds)
        short = patches and lasts < LEAST_SECONDS
        return f"clips of at least {LEAST_SECONDS} s" if short else None

    def read(self, clip: AudioVideo) -> Record:
        """Compute ``features``, and ``logits`` if there are any."""
        return self._record(sound_for(self.form, clip.audio))


def exported(form: ExportedConfig) -> list[ExportedPicture | ExportedSound]:
    """Load the networks of one or both modalities.

    Raises:
        UserError: A file is missing, is not the declared one, or is no ONNX network.
    """
    both = form.sees is not None and form.hears is not None
    found: list[ExportedPicture | ExportedSound] = []
    if form.sees is not None:
        name = f"{form.name}-video" if both else form.name
        found.append(ExportedPicture(name, form.sees, _loaded(form.sees)))
    if form.hears is not None:
        name = f"{form.name}-audio" if both else form.name
        found.append(ExportedSound(name, form.hears, _loaded(form.hears)))
    return found


def picture_for(form: VideoNetwork, video: Video) -> Tensor:
    """Preprocess frames for the network.

    Raises:
        UserError: There would be too many pixels.
    """
    chosen = video.frames if form.frames is None else evenly_spaced(video, form.frames)
    if form.size is not None and len(chosen) * math.prod(form.size) > _MOST_PIXELS:
        raise UserError(
            f"{len(chosen)} frames of {form.size[0]}x{form.size[1]} are too many pixels at once: "
            "give frames, or a smaller size, in the JSON file"
        )
    frames = torch.from_numpy(np.ascontiguousarray(chosen)).movedim(3, 1)
    if form.size is not None:
        if form.crop:
            frames = _middle(frames, form.size)
        frames = interpolate(frames, form.size, mode="bilinear", antialias=True)
    mean, std = (torch.tensor(one)[:, None, None] for one in (form.mean, form.std))
    frames = (frames - mean) / std
    order = [_AXES.index(axis) for axis in form.layout.replace("b", "")]
    laid = frames.permute(order).contiguous()
    return laid[None] if form.layout.startswith("b") else laid


def sound_for(form: AudioNetwork, audio: Audio) -> Tensor:
    """Preprocess a waveform for the network, to samples or patches."""
    heard = resampled(audio, form.rate).waveform
    if form.seconds is not None:
        length = round(form.seconds * form.rate)
        heard = np.pad(heard[:length], (0, max(0, length - len(heard))))
    if form.form == "vggish":
        return vggish_patches(Audio(heard, form.rate))
    waveform = torch.from_numpy(np.ascontiguousarray(heard, np.float32))[None]
    return waveform[:, None] if form.form == "b1n" else waveform


def _middle(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Crop the centre to the aspect ratio of ``size``, as large as possible."""
    height, width = frames.shape[2:]
    scale = min(height / size[0], width / size[1])
    tall, wide = round(size[0] * scale), round(size[1] * scale)
    top, left = (height - tall) // 2, (width - wide) // 2
    return frames[:, :, top : top + tall, left : left + wide]


def _loaded(network: Network) -> OnnxNetwork:
    return OnnxNetwork.load(network.file, network.sha256)


def _vector(found: Mapping[int | str, Array], part: Part, name: str) -> np.ndarray:
    """Reduce to one vector, the mean over all but the last axis."""
    if part is None and len(found) > 2:  # each output appears by index and by name
        names = ", ".join(key for key in found if isinstance(key, str))
        raise UserError(f"{name} gives {names}: say which with output in its JSON file")
    chosen = found.get(0 if part is None else part)
    if chosen is None:
        raise UserError(f"{name} gives nothing at {part!r}: mend its JSON file")
    if chosen.ndim < 2:
        raise UserError(f"{name} gives no (batch, features) array: say which with output")
    return chosen.astype(np.float32).reshape(-1, chosen.shape[-1]).mean(0)


RATE: Final = 16_000
PATCH: Final = 96  # windows
LEAST_SECONDS: Final = 0.975

_WINDOW: Final = 400
_HOP: Final = 160
_TRANSFORM: Final = 512
_BANDS: Final = 64
_OFFSET: Final = 0.01


def vggish_patches(audio: Audio) -> Tensor:
    """Compute patches (patches, 1, 96, 64).

    Raises:
        ValueError: The sound is shorter than 0.975 s.
    """
    heard = resampled(audio, RATE).waveform
    if len(heard) < LEAST_SECONDS * RATE:
        raise ValueError(f"a sound must last {LEAST_SECONDS} s, not {len(heard) / RATE} s")
    mel = spectrogram(
        heard.astype(np.float64),
        window_function(_WINDOW, "hann", periodic=True),
        frame_length=_WINDOW,
        hop_length=_HOP,
        fft_length=_TRANSFORM,
        power=1.0,
        center=False,
        mel_filters=mel_filter_bank(
            num_frequency_bins=_TRANSFORM // 2 + 1,
            num_mel_filters=_BANDS,
            min_frequency=125.0,
            max_frequency=7500.0,
            sampling_rate=RATE,
            norm=None,
            mel_scale="kaldi",  # HTK's with a factor on both sides
            triangularize_in_mel_space=True,
        ),
        mel_floor=0.0,
    )
    whole = mel.shape[1] // PATCH * PATCH
    patches = np.log(mel[:, :whole] + _OFFSET).T.reshape(-1, 1, PATCH, _BANDS)
    return torch.from_numpy(patches.astype(np.float32))
