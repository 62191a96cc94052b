"""Joint guidance: two separate scores and a discriminator's gradient make the joint score.

    ∇ log q(x_t, y_t) = ∇ log p(x_t) + ∇_x h(x_t, y_t)      (MMDisCo, Hayakawa et al. 2025)
    ε̂_x = ε_base(x_t) − s_x σ_t ∇_x h(x_t, y_t)             and the same in y

h is the discriminator's logit; s = 1 is the unscaled method. These are wrappers of denoisers,
independent of the sampling loop and of random numbers.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor
from typing_extensions import override

from mmdisco.core.av import AV, each
from mmdisco.core.denoiser import Conditioning, JointDenoiser
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.log_ratio import LogRatioGradient
from mmdisco.core.noise import NoiseLevel, broadcast_like
from mmdisco.io.shapes import Latent, PerSample


def guide(eps: Latent, gradient: Latent, level: NoiseLevel, scale: PerSample) -> Latent:
    """Return ε̂ − s σ ∇h: the method's one line."""
    return eps - broadcast_like(scale * level.sigma, eps) * gradient


class JointScale(ABC):
    """Weight s of the discriminator's gradient in one modality, by noise level."""

    @abstractmethod
    def at(self, level: NoiseLevel) -> PerSample:
        """Return the weight of each sample."""


@dataclass(frozen=True)
class ConstantScale(JointScale):
    """The same weight at every level; 1 is unscaled, 0 the unguided baseline."""

    scale: float = 1.0

    @override
    def at(self, level: NoiseLevel) -> PerSample:
        return torch.full_like(level.sigma, self.scale)


@dataclass(frozen=True)
class IntervalScale(JointScale):
    """A weight inside an interval of log-SNR and 0 outside it (Kynkäänniemi et al. 2024).

    Both ends belong to the interval. Where every sample of both modalities lies outside, the
    discriminator is not run.
    """

    scale: float
    low: float
    high: float

    def at(self, level: NoiseLevel) -> PerSample:
        """Return ``scale`` where low ≤ ln(α²/σ²) ≤ high."""
        inside = (level.log_snr >= self.low) & (level.log_snr <= self.high)
        return self.scale * inside.to(level.sigma.dtype)


@dataclass(frozen=True)
class JointGuidance(JointDenoiser):
    """A base model corrected by the gradient of a discriminator's logit.

    Attributes:
        base: Two independent models, or a joint one.
        discriminator: Log ratio of real pairs against the base's own.
        scale: s of either modality.
        gradient: Source of ∇h; one that caches belongs to a single run.
    """

    base: JointDenoiser
    discriminator: Discriminator
    scale: AV[JointScale]
    gradient: LogRatioGradient = field(default_factory=LogRatioGradient)

    def predict_noise(
        self, z_t: AV[Tensor], level: AV[NoiseLevel], cond: AV[Conditioning]
    ) -> AV[Tensor]:
        """Return ε_base − s σ ∇h in both modalities, from one gradient."""
        eps = self.base.predict_noise(z_t, level, cond)
        scale = each(lambda weight, at: weight.at(at), self.scale, level)
        if not (scale.audio.any() or scale.video.any()):
            return eps
        text = cond.map(lambda one: one.pooled)
        gradient = self.gradient.at(self.discriminator, z_t, level, text)
        return each(guide, eps, gradient, level, scale)


@dataclass(frozen=True)
class ClassifierFreeGuidance(JointDenoiser):
    """null + w (cond − null) in each modality (Ho & Salimans 2021, Eq. 6 with w = 1 + their w).

    Around a ``JointGuidance`` it guides base and discriminator at once. ``rescale`` brings the
    standard deviation of the guided noise back towards that of the conditional one, which large
    scales exceed (Lin et al. 2024, Eq. 14–16). It applies to ε, the one prediction that all models
    here share; the paper and diffusers rescale the network's own output, which is the same for a
    network that predicts ε, and not for one that predicts v.

    Attributes:
        denoiser: Evaluated with the captions and with the empty ones.
        null: The encoded empty caption, batch size 1.
        scale: w of either modality; 1 is no guidance.
        batched: Whether both evaluations are one of twice the batch: more memory, less time.
        rescale: φ in [0, 1], the share of the rescaled noise; 0 is none.
    """

    denoiser: JointDenoiser
    null: AV[Conditioning]
    scale: AV[float]
    batched: bool = False
    rescale: float = 0.0

    def predict_noise(
        self, z_t: AV[Tensor], level: AV[NoiseLevel], cond: AV[Conditioning]
    ) -> AV[Tensor]:
        """Return the extrapolated noise; one plain evaluation where both weights are 1."""
        if self.scale == AV(1.0, 1.0):
            return self.denoiser.predict_noise(z_t, level, cond)
        repeated = torch.zeros(len(z_t.audio), dtype=torch.long)
        null = self.null.map(lambda one: one.take(repeated))
        if self.batched:
            both = self.denoiser.predict_noise(
                z_t.map(_twice),
                level.map(lambda one: one.take([*range(len(one.t))] * 2)),
                each(_beside, cond, null),
            )
            halves = both.map(lambda one: one.chunk(2))
            with_caption, without = (halves.map(lambda one, i=i: one[i]) for i in (0, 1))
        else:
            with_caption = self.denoiser.predict_noise(z_t, level, cond)
            without = self.denoiser.predict_noise(z_t, level, null)
        return each(self._guided, with_caption, without, self.scale)

    def _guided(self, cond: Latent, null: Latent, scale: float) -> Latent:
        guided = null + scale * (cond - null)
        return guided if self.rescale == 0 else rescaled(guided, cond, self.rescale)


def rescaled(guided: Latent, cond: Latent, share: float) -> Latent:
    """Return φ (σ_cond / σ_guided) ε_guided + (1 − φ) ε_guided (Lin et al. 2024, Eq. 15–16).

    Args:
        guided: Guided prediction.
        cond: Conditional prediction.
        share: φ; the standard deviations σ are those of each sample.
    """
    axes = tuple(range(1, guided.ndim))
    spread = guided.std(axes, keepdim=True)
    # a constant prediction, as of a clean side, has none and stays
    ratio = torch.where(spread > 0, cond.std(axes, keepdim=True) / spread, 1.0)
    return share * ratio * guided + (1 - share) * guided


def _twice(x: Tensor) -> Tensor:
    return torch.cat([x, x])


def _beside(cond: Conditioning, null: Conditioning) -> Conditioning:
    embeds = zip(cond.embeds, null.embeds, strict=True)
    return Conditioning(
        torch.cat([cond.pooled, null.pooled]), tuple(torch.cat(both) for both in embeds)
    )
