"""Interfaces of frozen models: a pair of noisy latents in, a pair of noises out.

Everything that shapes a run (a pair of base models, joint guidance, classifier-free guidance)
is a ``JointDenoiser`` around another one, so a sampler needs a single method. A ``JointModel``
also encodes prompts and clips and decodes latents. Independent of diffusers and of any concrete
network.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor
from typing_extensions import override

from mmdisco.core.av import AV, each
from mmdisco.core.noise import NoiseLevel, NoiseSchedule
from mmdisco.io.shapes import Latent, Text
from mmdisco.media.clip import Audio, Video

Medium = TypeVar("Medium", Audio, Video)


@dataclass(frozen=True)
class Conditioning:
    """Encoded prompts of one modality.

    Attributes:
        pooled: One vector per sample, which a discriminator reads; width 0 where there is no text.
        embeds: Inputs of the wrapped network; only its own adapter unpacks them. Batch first.
    """

    pooled: Text
    embeds: tuple[Tensor, ...] = ()

    @staticmethod
    def none(batch_size: int) -> "Conditioning":
        """Return the conditioning of an unconditional model."""
        return Conditioning(torch.zeros(batch_size, 0))

    def take(self, index: Tensor) -> "Conditioning":
        """Return the samples at the given positions."""
        return Conditioning(self.pooled[index], tuple(one[index] for one in self.embeds))


class Denoiser(ABC):
    """One frozen model of one modality, whatever its parameterization."""

    @property
    @abstractmethod
    def schedule(self) -> NoiseSchedule:
        """Noise schedule the model was trained with."""

    @abstractmethod
    def predict_noise(self, x_t: Latent, level: NoiseLevel, cond: Conditioning) -> Latent:
        """Predict ε̂ of each sample, in the units of ``x_t``."""


class BaseModel(Denoiser, Generic[Medium]):
    """A denoiser with its codec and its text encoder."""

    @abstractmethod
    def encode_prompts(self, prompts: Sequence[str]) -> Conditioning:
        """Encode each prompt; "" is the unconditional prompt."""

    @abstractmethod
    def latent_shape(self, seconds: float) -> torch.Size:
        """Return the shape of one sample's latent, without the batch."""

    @abstractmethod
    def encode(self, media: Sequence[Medium]) -> Latent:
        """Encode clips that are all of one length and of the model's own rates."""

    @abstractmethod
    def decode(self, x_0: Latent) -> list[Medium]:
        """Decode clean latents to clips."""


class JointDenoiser(ABC):
    """The one method that a sampler needs; wrappers keep this signature."""

    @abstractmethod
    def predict_noise(
        self, z_t: AV[Tensor], level: AV[NoiseLevel], cond: AV[Conditioning]
    ) -> AV[Tensor]:
        """Predict ε̂ of both modalities; the ε̂ of a clean side is meaningless and never used."""


class JointModel(JointDenoiser):
    """A joint denoiser with its codecs and its text encoders."""

    @property
    @abstractmethod
    def schedules(self) -> AV[NoiseSchedule]:
        """Noise schedule of either modality."""

    @abstractmethod
    def encode_prompts(self, prompts: Sequence[str]) -> AV[Conditioning]:
        """Encode each prompt for either modality."""

    @abstractmethod
    def latent_shapes(self, seconds: float) -> AV[torch.Size]:
        """Return the shapes of one sample's latents, without the batch."""

    @abstractmethod
    def encode_audio(self, audio: Sequence[Audio]) -> Latent:
        """Encode sounds of the model's own length and rate."""

    @abstractmethod
    def encode_video(self, video: Sequence[Video]) -> Latent:
        """Encode videos of the model's own length, rate and size."""

    @abstractmethod
    def decode_audio(self, x_0: Latent) -> list[Audio]:
        """Decode clean latents to sounds."""

    @abstractmethod
    def decode_video(self, x_0: Latent) -> list[Video]:
        """Decode clean latents to videos."""


@dataclass(frozen=True)
class IndependentModels(JointModel):
    """Two independent base models; their samples agree through the caption alone."""

    audio: BaseModel[Audio]
    video: BaseModel[Video]

    @property
    @override
    def schedules(self) -> AV[NoiseSchedule]:
        return AV(self.audio.schedule, self.video.schedule)

    def predict_noise(
        self, z_t: AV[Tensor], level: AV[NoiseLevel], cond: AV[Conditioning]
    ) -> AV[Tensor]:
        """Predict with each model on its own latent; a clean side costs nothing."""
        return IndependentDenoisers(AV(self.audio, self.video)).predict_noise(z_t, level, cond)

    def encode_prompts(self, prompts: Sequence[str]) -> AV[Conditioning]:
        """Encode the prompts with each model."""
        return AV(self.audio.encode_prompts(prompts), self.video.encode_prompts(prompts))

    @override
    def latent_shapes(self, seconds: float) -> AV[torch.Size]:
        return AV(self.audio.latent_shape(seconds), self.video.latent_shape(seconds))

    @override
    def encode_audio(self, audio: Sequence[Audio]) -> Latent:
        return self.audio.encode(audio)

    @override
    def encode_video(self, video: Sequence[Video]) -> Latent:
        return self.video.encode(video)

    @override
    def decode_audio(self, x_0: Latent) -> list[Audio]:
        return self.audio.decode(x_0)

    @override
    def decode_video(self, x_0: Latent) -> list[Video]:
        return self.video.decode(x_0)


@dataclass(frozen=True)
class IndependentDenoisers(JointDenoiser):
    """Two independent denoisers; their samples agree through the caption alone."""

    bases: AV[Denoiser]

    @property
    def schedules(self) -> AV[NoiseSchedule]:
        """Noise schedule of either denoiser."""
        return self.bases.map(lambda base: base.schedule)

    def predict_noise(
        self, z_t: AV[Tensor], level: AV[NoiseLevel], cond: AV[Conditioning]
    ) -> AV[Tensor]:
        """Each model on its own latent; a clean side costs nothing."""
        return each(_predict_unless_clean, self.bases, z_t, level, cond)


def _predict_unless_clean(
    base: Denoiser, x_t: Latent, level: NoiseLevel, cond: Conditioning
) -> Latent:
    return torch.zeros_like(x_t) if level.is_clean else base.predict_noise(x_t, level, cond)
