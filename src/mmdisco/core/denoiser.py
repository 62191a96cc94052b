"""Frozen models as the method sees them: a pair of noisy latents in, a pair of noises out.

Everything that shapes a run (a pair of bases, joint guidance, classifier-free guidance) is a
``JointDenoiser`` around another one, so a sampler knows a single method. What also reads prompts
and turns clips into latents and back is a ``JointModel``. Knows no diffusers and no concrete
network.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from mmdisco.core.av import AV, each
from mmdisco.core.noise import NoiseLevel, NoiseSchedule
from mmdisco.media.clip import Audio, Video
from mmdisco.shapes import Latent, Text

Medium = TypeVar("Medium", Audio, Video)


@dataclass(frozen=True)
class Conditioning:
    """Encoded prompts of one modality.

    Attributes:
        pooled: One vector per sample, which a discriminator reads; width 0 where there is no text.
        embeds: What the wrapped network reads; only its own adapter unpacks it. Batch first.
    """

    pooled: Text
    embeds: tuple[Tensor, ...] = ()

    @staticmethod
    def none(batch_size: int) -> "Conditioning":
        """The conditioning of an unconditional model."""
        return Conditioning(torch.zeros(batch_size, 0))

    def take(self, index: Tensor) -> "Conditioning":
        """The samples of the given positions."""
        return Conditioning(self.pooled[index], tuple(one[index] for one in self.embeds))


class Denoiser(ABC):
    """One frozen model of one modality, whatever it predicts inside."""

    @property
    @abstractmethod
    def schedule(self) -> NoiseSchedule:
        """The schedule the model was trained with."""

    @abstractmethod
    def predict_noise(self, x_t: Latent, level: NoiseLevel, cond: Conditioning) -> Latent:
        """ε̂ of each sample, in the units of ``x_t``."""


class BaseModel(Denoiser, Generic[Medium]):
    """A denoiser with all that stands between it and a user: prompts, clips, lengths."""

    @abstractmethod
    def encode_prompts(self, prompts: Sequence[str]) -> Conditioning:
        """The conditioning of each prompt; "" is the prompt that asks for nothing."""

    @abstractmethod
    def latent_shape(self, seconds: float) -> torch.Size:
        """Shape of one sample's latent, without the batch."""

    @abstractmethod
    def encode(self, media: Sequence[Medium]) -> Latent:
        """Latents of clips that are all of one length and of the model's own rates."""

    @abstractmethod
    def decode(self, x_0: Latent) -> list[Medium]:
        """Clips of clean latents."""


class JointDenoiser(ABC):
    """Everything a sampler needs; wrappers keep this signature."""

    @abstractmethod
    def predict_noise(
        self, z_t: AV[Tensor], level: AV[NoiseLevel], cond: AV[Conditioning]
    ) -> AV[Tensor]:
        """ε̂ of both modalities. Where a side is clean its ε̂ has no meaning and is never used."""


class JointModel(JointDenoiser):
    """A joint denoiser with all that stands between it and a user."""

    @property
    @abstractmethod
    def schedules(self) -> AV[NoiseSchedule]:
        """The schedule of either modality."""

    @abstractmethod
    def encode_prompts(self, prompts: Sequence[str]) -> AV[Conditioning]:
        """The conditioning of each prompt, for either modality."""

    @abstractmethod
    def latent_shapes(self, seconds: float) -> AV[torch.Size]:
        """Shapes of one sample's latents, without the batch."""

    @abstractmethod
    def encode_audio(self, audio: Sequence[Audio]) -> Latent:
        """Latents of sounds of the model's own length and rate."""

    @abstractmethod
    def encode_video(self, video: Sequence[Video]) -> Latent:
        """Latents of videos of the model's own length, rate and size."""

    @abstractmethod
    def decode_audio(self, x_0: Latent) -> list[Audio]:
        """Sounds of clean latents."""

    @abstractmethod
    def decode_video(self, x_0: Latent) -> list[Video]:
        """Videos of clean latents."""


@dataclass(frozen=True)
class IndependentModels(JointModel):
    """Two base models side by side; their samples agree through the caption alone."""

    audio: BaseModel[Audio]
    video: BaseModel[Video]

    @property
    def schedules(self) -> AV[NoiseSchedule]:
        """The schedule of either model."""
        return AV(self.audio.schedule, self.video.schedule)

    def predict_noise(
        self, z_t: AV[Tensor], level: AV[NoiseLevel], cond: AV[Conditioning]
    ) -> AV[Tensor]:
        """Each model on its own latent; a clean side costs nothing."""
        return IndependentDenoisers(AV(self.audio, self.video)).predict_noise(z_t, level, cond)

    def encode_prompts(self, prompts: Sequence[str]) -> AV[Conditioning]:
        """Each model reads the prompts by itself."""
        return AV(self.audio.encode_prompts(prompts), self.video.encode_prompts(prompts))

    def latent_shapes(self, seconds: float) -> AV[torch.Size]:
        """Shapes of one sample's latents, without the batch."""
        return AV(self.audio.latent_shape(seconds), self.video.latent_shape(seconds))

    def encode_audio(self, audio: Sequence[Audio]) -> Latent:
        """Latents of sounds of the audio model's own length and rate."""
        return self.audio.encode(audio)

    def encode_video(self, video: Sequence[Video]) -> Latent:
        """Latents of videos of the video model's own length, rate and size."""
        return self.video.encode(video)

    def decode_audio(self, x_0: Latent) -> list[Audio]:
        """Sounds of clean latents."""
        return self.audio.decode(x_0)

    def decode_video(self, x_0: Latent) -> list[Video]:
        """Videos of clean latents."""
        return self.video.decode(x_0)


@dataclass(frozen=True)
class IndependentDenoisers(JointDenoiser):
    """Two models side by side; their samples agree through the caption alone."""

    bases: AV[Denoiser]

    @property
    def schedules(self) -> AV[NoiseSchedule]:
        """The schedule of either model."""
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
