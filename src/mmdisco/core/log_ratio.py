"""The gradient of a discriminator's logit, and how often a run computes it.

Knows log ratios as functions of a pair of latents; knows no network and no loop.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mmdisco.core.av import AV, each
from mmdisco.core.noise import NoiseLevel, broadcast_like
from mmdisco.errors import UserError
from mmdisco.shapes import Latent, Logit

LogRatioOf = Callable[[AV[Tensor]], Tensor]
"""The logit of each pair, shape (b,), as a function of the latents."""


@dataclass(frozen=True)
class LogRatio:
    """A discriminator's logit h at a batch of pairs, and ∇h with respect to both latents."""

    logit: Logit
    gradient: AV[Tensor]


def log_ratio_gradient(
    log_ratio: LogRatioOf, z_t: AV[Tensor], *, create_graph: bool = False
) -> LogRatio:
    """h and ∇h of each pair: the one place that differentiates a logit.

    Args:
        log_ratio: The logit of each pair, shape (b,), as a function of the latents. Pairs must not
            see one another: one backward pass serves the whole batch.
        z_t: Noisy latents; not changed, and no gradient flows into them.
        create_graph: Whether the result can be differentiated again, as training needs.
    """
    with torch.enable_grad():
        leaves = z_t.map(lambda x: x.detach().requires_grad_())
        logit = log_ratio(leaves)
        # the zero gives a logit that ignores a latent a gradient of 0 where there would be an error
        total = logit.sum() + 0 * (leaves.audio.sum() + leaves.video.sum())
        audio, video = torch.autograd.grad(
            total, (leaves.audio, leaves.video), create_graph=create_graph
        )
    return LogRatio(logit if create_graph else logit.detach(), AV(audio, video))


class LogRatioGradient(ABC):
    """Where one run takes ∇h from; may keep what it found at earlier levels."""

    @abstractmethod
    def at(self, log_ratio: LogRatioOf, z_t: AV[Tensor], level: AV[NoiseLevel]) -> AV[Tensor]:
        """∇h with respect to both latents, or what stands for it.

        Args:
            log_ratio: The logit at this level.
            z_t: Noisy latents.
            level: Their noise levels.
        """


class GradientReuse(ABC):
    """How often a run asks for the gradient: immutable, begins as many runs as wanted."""

    @abstractmethod
    def begin(self) -> LogRatioGradient:
        """The gradient of a new run."""


@dataclass(frozen=True)
class NoReuse(GradientReuse, LogRatioGradient):
    """The gradient of this very pair, at every evaluation."""

    def begin(self) -> LogRatioGradient:
        """There is nothing to keep."""
        return self

    def at(self, log_ratio: LogRatioOf, z_t: AV[Tensor], level: AV[NoiseLevel]) -> AV[Tensor]:
        """∇h."""
        return log_ratio_gradient(log_ratio, z_t).gradient


@dataclass(frozen=True)
class ReuseEvery(GradientReuse):
    """The gradient at the first of ``every`` guided evaluations, held for the others.

    What is held is ∇h of the latents in variance-preserving units. Guidance multiplies it by the σ
    of the level at hand, so only the gradient is old and not the noise level. Evaluations outside
    the interval of guidance are not counted.

    Attributes:
        every: 1 asks every time.

    Raises:
        UserError: ``every`` is less than 1.
    """

    every: int

    def __post_init__(self) -> None:
        if self.every < 1:
            raise UserError(f"guidance at every {self.every} evaluations: ask for 1 or more")

    def begin(self) -> LogRatioGradient:
        """Nothing held yet."""
        return _Held(self.every)


@dataclass
class _Held(LogRatioGradient):
    every: int
    count: int = 0
    gradient: AV[Tensor] | None = None

    def at(self, log_ratio: LogRatioOf, z_t: AV[Tensor], level: AV[NoiseLevel]) -> AV[Tensor]:
        asked = self.count % self.every == 0
        self.count += 1
        if self.gradient is None or asked:
            found = log_ratio_gradient(log_ratio, z_t).gradient
            self.gradient = each(_in_vp_units, found, level)
        return each(_in_own_units, self.gradient, level)


def _in_vp_units(gradient: Latent, level: NoiseLevel) -> Latent:
    # the chain rule of x_vp = x / √(α² + σ²)
    return gradient * broadcast_like(level.magnitude, gradient)


def _in_own_units(gradient: Latent, level: NoiseLevel) -> Latent:
    return gradient / broadcast_like(level.magnitude, gradient)
