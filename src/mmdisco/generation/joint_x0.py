"""Two models that one sampler steps together, corrected by the gradient of a discriminator.

Samplers of k-diffusion and ComfyUI step one state along one table of σ, and a model returns x̂_0.
Here the state is a pair, and the table is the video's: the sound is held in the video's units, at
the same σ/α, and is converted to its own model's units and σ for each evaluation.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from typing_extensions import override

from mmdisco.core.av import AV, each
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.noise import NoiseLevel, broadcast_like
from mmdisco.errors import UserError
from mmdisco.generation.correction import read_captions
from mmdisco.generation.meeting import Correction, SideState
from mmdisco.io.shapes import Latent, Logit, PerSample, Text


@dataclass(frozen=True)
class SigmaUnits(ABC):
    """Meaning of σ in one model.

    Attributes:
        sigma_max: Largest σ that the model was trained with.
    """

    sigma_max: float = math.inf

    @abstractmethod
    def alpha(self, sigma: PerSample) -> PerSample:
        """Return α beside σ."""

    @abstractmethod
    def sigma(self, level: NoiseLevel) -> PerSample:
        """Return the σ of these units whose σ/α is that of a level."""

    def level(self, sigma: PerSample) -> NoiseLevel:
        """Return the noise level of σ, in float64 on the CPU; its t is σ."""
        sigma = sigma.detach().double().cpu()
        return NoiseLevel(sigma, self.alpha(sigma), sigma)

    def to(self, other: "SigmaUnits", x_t: Latent, sigma: PerSample) -> tuple[Latent, PerSample]:
        """Convert a latent and its σ to other units, unchanged where those are the same.

        Above the other's ``sigma_max``, where σ/α of a flow model goes to infinity, it is that σ:
        the latent is hardly more than noise at either.

        Args:
            other: Units of the result.
            x_t: Latent in these units.
            sigma: Its σ, one per sample.
        """
        if type(other) is type(self) and float(sigma.max()) <= other.sigma_max:
            return x_t, sigma
        level = self.level(sigma)
        own = other.level(other.sigma(level).clamp(max=other.sigma_max))
        scale = broadcast_like(own.magnitude / level.magnitude, x_t)
        return x_t * scale, own.sigma.to(sigma)


class FlowSigma(SigmaUnits):
    """Flow matching: x_t = (1 − σ) x_0 + σ ε."""

    @override
    def alpha(self, sigma: PerSample) -> PerSample:
        return 1 - sigma

    @override
    def sigma(self, level: NoiseLevel) -> PerSample:
        return level.sigma / (level.alpha + level.sigma)


class ExplodingSigma(SigmaUnits):
    """Variance exploding, as samplers hold every model of ε, v or x_0: x_t = x_0 + σ ε."""

    @override
    def alpha(self, sigma: PerSample) -> PerSample:
        return torch.ones_like(sigma)

    @override
    def sigma(self, level: NoiseLevel) -> PerSample:
        return level.sigma / level.alpha


X0Prediction = Callable[[Tensor, Tensor], Tensor]
"""From x_t and σ, one per sample, in a model's own units, to its x̂_0."""


@dataclass(frozen=True)
class JointX0:
    """x̂_0 of a pair, jointly guided: x̂_0 + s (σ²/α) ∇h is what ε̂ − s σ ∇h makes of x̂_0.

    Attributes:
        predict: x̂_0 of either model, with its own classifier-free guidance.
        units: Units of either model; the pair is held in the video's.
        correct: Change of either ε̂ at a pair of states.
        given: Clean latent of a given side, whose model is not evaluated.

    Raises:
        UserError: Both sides are given.
    """

    predict: AV[X0Prediction]
    units: AV[SigmaUnits]
    correct: Correction
    given: AV[Latent | None] = field(default_factory=lambda: AV(None, None))

    def __post_init__(self) -> None:
        if self.given.audio is not None and self.given.video is not None:
            raise UserError("video and sound are both given: leave one to be generated")

    def __call__(self, x_t: AV[Latent], sigma: PerSample) -> AV[Latent]:
        """Return x̂_0 of both sides; that of a given side is the given latent.

        Args:
            x_t: Noisy latents in the video's units.
            sigma: σ of the video, the same for each sample.
        """
        leader = self.units.video
        level = leader.level(sigma[:1])

        def evaluated(
            predict: X0Prediction, units: SigmaUnits, x: Latent, given: Latent | None
        ) -> Latent:
            return predict(*leader.to(units, x, sigma)) if given is None else given

        x_0 = each(evaluated, self.predict, self.units, x_t, self.given)
        noisy = x_t.map(lambda x: SideState(x, level))
        states = each(
            lambda state, given: (
                state if given is None else replace(state, x_t=given, level=NoiseLevel.clean(1))
            ),
            noisy,
            self.given,
        )
        ratio = float(level.sigma / level.alpha)
        return each(
            lambda own, change: own if change is None else own - ratio * change.to(own),
            x_0,
            self.correct(states),
        )


def agreement(
    discriminator: Discriminator, x_0: AV[Latent], captions: AV[Text], name: str
) -> Logit:
    """Return the logit of clean latents: how much each sound and its video belong together.

    Args:
        discriminator: The discriminator.
        x_0: Clean latents, in the models' own scale.
        captions: Pooled captions of either side, one per sample.
        name: Name of the base models, for messages.

    Raises:
        UserError: The discriminator is for other latents or captions.
    """
    shapes = x_0.map(lambda x: x.shape[1:])
    device = next(discriminator.parameters(), torch.zeros(0)).device
    text = read_captions(discriminator, shapes, captions, name).map(lambda one: one.to(device))
    clean = NoiseLevel.clean(len(x_0.audio))
    with torch.no_grad():
        return discriminator(x_0.map(lambda x: x.to(device).float()), AV(clean, clean), text)
