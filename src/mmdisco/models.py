"""Frozen models as the method sees them: a pair of noisy latents in, a pair of noises out.

Everything that shapes a run (a pair of bases, joint guidance, classifier-free guidance) is a
``JointDenoiser`` around another one, so a sampler knows a single method. Knows no diffusers, no
concrete network, no media.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from mmdisco.av import AV, each
from mmdisco.schedule import NoiseLevel, NoiseSchedule
from mmdisco.shapes import Latent, Text


@dataclass(frozen=True)
class Conditioning:
    """Encoded prompts of one modality.

    Attributes:
        pooled: One vector per sample, which a discriminator reads; width 0 where there is no text.
        native: What the wrapped network reads; only its own adapter unpacks it. Batch first.
    """

    pooled: Text
    native: tuple[Tensor, ...] = ()

    @staticmethod
    def none(batch_size: int) -> "Conditioning":
        """The conditioning of an unconditional model."""
        return Conditioning(torch.zeros(batch_size, 0))


class Denoiser(ABC):
    """One frozen model of one modality, whatever it predicts inside."""

    @property
    @abstractmethod
    def schedule(self) -> NoiseSchedule:
        """The schedule the model was trained with."""

    @abstractmethod
    def predict_noise(self, x_t: Latent, level: NoiseLevel, cond: Conditioning) -> Latent:
        """ε̂ of each sample, in the units of ``x_t``."""


class JointDenoiser(ABC):
    """Everything a sampler needs; wrappers keep this signature."""

    @abstractmethod
    def predict_noise(
        self, z_t: AV[Tensor], level: AV[NoiseLevel], cond: AV[Conditioning]
    ) -> AV[Tensor]:
        """ε̂ of both modalities. Where a side is clean its ε̂ has no meaning and is never used."""


@dataclass(frozen=True)
class IndependentPair(JointDenoiser):
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
