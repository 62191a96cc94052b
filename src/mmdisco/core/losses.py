"""The paper's two losses: pure functions of a discriminator, a base and two noised batches.

    L_disc    = E_real[softplus(−h)] + E_fake[softplus(h)]
    L_denoise = E_real[‖ε_x − (ε_base(x_t) − σ ∇_x h)‖² + ‖ε_y − (ε_base(y_t) − σ ∇_y h)‖²]
    L         = L_disc + λ L_denoise

Cross-entropy bounds the error of h, not of its gradient, and sampling uses the gradient alone;
the denoising term makes base and gradient a noise estimator (Chao et al. 2022, for conditional
scores). Here ‖·‖² is a mean over the elements of a modality, so λ means the same at every
latent size.
"""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from mmdisco.core.av import AV, each
from mmdisco.core.denoiser import JointDenoiser
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.guidance import guide
from mmdisco.core.log_ratio import log_ratio_gradient
from mmdisco.core.noise import NoiseLevel
from mmdisco.core.pairs import Pairs
from mmdisco.errors import UserError
from mmdisco.io.shapes import Latent, PerSample


@dataclass(frozen=True)
class Losses:
    """Per-sample losses of one step; zeros where a loss is not computed.

    Attributes:
        discrimination: softplus(−h) of the real pairs plus softplus(h) of the fake ones.
        denoising: Squared error of the guided noise per modality, a mean over elements.
        correct: Accuracy over the real and the fake pair: 0, ½ or 1.
    """

    discrimination: PerSample
    denoising: AV[Tensor]
    correct: PerSample


@dataclass(frozen=True)
class NoisedPairs:
    """A batch of noised pairs: z_t = α z_0 + σ ε at the given levels."""

    pairs: Pairs
    eps: AV[Tensor]
    level: AV[NoiseLevel]

    @property
    def z_t(self) -> AV[Tensor]:
        """Noisy latents of both modalities."""
        return each(NoiseLevel.add_noise, self.level, self.pairs.z_0, self.eps)


class Loss(ABC):
    """Training objective."""

    @abstractmethod
    def losses(
        self,
        discriminator: Discriminator,
        base: JointDenoiser,
        real: NoisedPairs,
        fake: NoisedPairs,
    ) -> Losses:
        """Compute the losses of each pair.

        Args:
            discriminator: The network in training.
            base: The frozen base whose noise the gradient must complete.
            real: Noised real pairs, (b, …).
            fake: Pairs sampled from the base, noised to the same levels, (b, …).
        """

    @abstractmethod
    def total(self, losses: Losses) -> PerSample:
        """Return the minimised value of each pair."""

    @abstractmethod
    def settings(self) -> dict[str, float]:
        """Return the settings that a resumed checkpoint must share."""


@dataclass(frozen=True)
class MMDisCoLoss(Loss):
    """Weighted sum of the paper's losses; λ is ``denoising`` where ``discrimination`` is 1.

    A loss of weight 0 is not computed.
    """

    discrimination: float = 1.0
    denoising: float = 1.0

    def __post_init__(self) -> None:
        weights = (self.discrimination, self.denoising)
        if min(weights) < 0 or max(weights) == 0:
            raise UserError(
                f"loss weights: cross-entropy {self.discrimination}, denoising {self.denoising}; "
                "give numbers from 0, not both 0"
            )

    def losses(
        self,
        discriminator: Discriminator,
        base: JointDenoiser,
        real: NoisedPairs,
        fake: NoisedPairs,
    ) -> Losses:
        """Compute both at once, sharing the logit of the real pairs."""
        zeros = torch.zeros(len(real.pairs))
        denoising = AV(zeros, zeros)
        if self.denoising:
            logit, denoising = _denoising(discriminator, base, real)
        else:
            logit = _logit(discriminator, real)
        discrimination, correct = zeros, (logit.detach() > 0).float()
        if self.discrimination:
            fake_logit = _logit(discriminator, fake)
            discrimination = softplus(-logit) + softplus(fake_logit)
            correct = ((logit.detach() > 0).float() + (fake_logit.detach() < 0).float()) / 2
        return Losses(discrimination, denoising, correct)

    def total(self, losses: Losses) -> PerSample:
        """Return L of each pair."""
        return self.discrimination * losses.discrimination + self.denoising * (
            losses.denoising.audio + losses.denoising.video
        )

    def settings(self) -> dict[str, float]:
        """Return both weights."""
        return asdict(self)


def _logit(discriminator: Discriminator, noised: NoisedPairs) -> Tensor:
    return discriminator(noised.z_t, noised.level, noised.pairs.text)


def _denoising(
    discriminator: Discriminator, base: JointDenoiser, real: NoisedPairs
) -> tuple[Tensor, AV[Tensor]]:
    z_t, text = real.z_t, real.pairs.text
    with torch.no_grad():
        base_eps = base.predict_noise(z_t, real.level, real.pairs.cond)
    ratio = log_ratio_gradient(lambda z: discriminator(z, real.level, text), z_t, create_graph=True)

    def error(eps: Latent, base_eps: Latent, gradient: Latent, level: NoiseLevel) -> Tensor:
        guided = guide(base_eps, gradient, level, torch.ones_like(level.sigma))
        squared = (eps - guided).square().flatten(1).mean(dim=1)
        # a clean side has no noise to predict
        return torch.where(level.sigma > 0, squared, 0.0)

    return ratio.logit, each(error, real.eps, base_eps, ratio.gradient, real.level)
