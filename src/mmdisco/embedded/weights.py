"""The embedded pair on disk: a folder of safetensors files and ``config.json``.

The files are in half precision; the networks run in single. ``config.json`` holds the shapes, the
words, the settings to begin with and the SHA-256 of every file, so a damaged one is named.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from torch import nn

from mmdisco.av import AV
from mmdisco.discriminator.audio_video import AudioVideoConfig, AudioVideoDiscriminator
from mmdisco.embedded.autoencoders import (
    Standardised,
    build_audio_autoencoder,
    build_video_autoencoder,
)
from mmdisco.embedded.denoiser import ConvolutionTransformer, DenoiserConfig, VelocityDenoiser
from mmdisco.embedded.models import (
    AudioCodec,
    EmbeddedModel,
    VideoCodec,
    audio_schedule,
    video_schedule,
)
from mmdisco.embedded.text import TextEncoder
from mmdisco.errors import UserError
from mmdisco.files import read_json, read_tensors, write_json, write_tensors
from mmdisco.guidance import IntervalScale
from mmdisco.models import ModelPair
from mmdisco.pipeline import Settings
from mmdisco.sampling.named import solver
from mmdisco.schedule import NoiseSchedule

PACKAGED: Final = Path(__file__).parent / "weights"

EVERY_LEVEL: Final = (-math.inf, math.inf)

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Sampling:
    """The settings that generation begins with, by name.

    Attributes:
        steps: Evaluations of the bases.
        solver: A name of ``sampling.named``.
        guidance_scale: w of classifier-free guidance.
        joint_scale: s of joint generation.
        video_to_audio: s where the video is given.
        audio_to_video: s where the audio is given.
        joint_levels: Lowest and highest ln(α²/σ²) at which joint guidance works; outside, its
            gradient changes little and would cost as much.
    """

    steps: int
    solver: str
    guidance_scale: AV[float]
    joint_scale: AV[float]
    video_to_audio: float
    audio_to_video: float
    joint_levels: tuple[float, float] = EVERY_LEVEL

    @property
    def settings(self) -> Settings:
        """The settings of joint generation."""
        return Settings(
            self.steps,
            AV(solver(self.solver), solver(self.solver)),
            self.guidance_scale,
            self.joint_scale.map(lambda scale: IntervalScale(scale, *self.joint_levels)),
        )


@dataclass(frozen=True)
class Folder:
    """A folder of the pair's weights.

    Raises:
        UserError: A file is missing, damaged or of another shape, at the first use of it.
    """

    path: Path = PACKAGED

    def text(self) -> TextEncoder:
        """The text encoder."""
        return self.load("text_encoder", TextEncoder(self.config["words"]))

    def model(self) -> ModelPair:
        """Both bases."""
        text = self.text()
        sound = self.load("audio_autoencoder", Standardised(build_audio_autoencoder()))
        picture = self.load("video_autoencoder", Standardised(build_video_autoencoder()))
        return ModelPair(
            audio=EmbeddedModel(
                self._denoiser("audio_denoiser", audio_schedule()), AudioCodec(sound), text
            ),
            video=EmbeddedModel(
                self._denoiser("video_denoiser", video_schedule()), VideoCodec(picture), text
            ),
        )

    def discriminator(self, name: str = "discriminator") -> AudioVideoDiscriminator:
        """The discriminator, or the additive control by its name."""
        config = AudioVideoConfig.from_record(self.config[name])
        return self.load(name, AudioVideoDiscriminator(config))

    def sampling(self) -> Sampling:
        """The settings that generation begins with."""
        record = self.config["sampling"]
        return Sampling(
            steps=record["steps"],
            solver=record["solver"],
            guidance_scale=AV(*map(float, record["guidance_scale"])),
            joint_scale=AV(*map(float, record["joint_scale"])),
            video_to_audio=float(record["video_to_audio"]),
            audio_to_video=float(record["audio_to_video"]),
            joint_levels=levels_of(record["joint_levels"]),
        )

    def load(self, name: str, network: Network) -> Network:
        """``network`` with the weights of ``name``, frozen, in single precision."""
        path = self.path / f"{name}.safetensors"
        if path.is_file() and _sha256(path) != self.config["sha256"].get(name):
            raise UserError(
                f"{path} is damaged: its checksum is not the one in config.json; install "
                "mmdisco again"
            )
        weights = {key: value.float() for key, value in read_tensors(path).items()}
        own = network.state_dict()
        if own.keys() != weights.keys() or any(own[k].shape != weights[k].shape for k in own):
            raise UserError(f"{path} holds another network: install mmdisco again")
        network.load_state_dict(weights)
        return network.eval().requires_grad_(False)  # noqa: FBT003

    @cached_property
    def config(self) -> dict[str, Any]:
        """``config.json``."""
        return read_json(self.path / "config.json")

    def _denoiser(self, name: str, schedule: NoiseSchedule) -> VelocityDenoiser:
        config = DenoiserConfig.from_record(self.config[name])
        return VelocityDenoiser(self.load(name, ConvolutionTransformer(config)), schedule)


def levels_of(record: Sequence[float | None]) -> tuple[float, float]:
    """Two ends from JSON, where an open one is null."""
    low, high = record
    return -math.inf if low is None else float(low), math.inf if high is None else float(high)


def levels_record(levels: tuple[float, float]) -> list[float | None]:
    """Undo ``levels_of``."""
    return [end if math.isfinite(end) else None for end in levels]


def pack(
    networks: Mapping[str, Path], config: Mapping[str, Any], folder: Path, metadata: dict[str, str]
) -> None:
    """Write a folder: every network in half precision, then ``config.json`` with the checksums.

    Args:
        networks: Name to the file of its weights.
        config: All of ``config.json`` but the checksums.
        folder: Where to.
        metadata: Kept in every safetensors file.
    """
    sums: dict[str, str] = {}
    for name, source in networks.items():
        target = folder / f"{name}.safetensors"
        halves = {key: value.to(torch.float16) for key, value in read_tensors(source).items()}
        write_tensors(target, halves, metadata)
        sums[name] = _sha256(target)
    write_json(folder / "config.json", {**config, "sha256": sums})


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
