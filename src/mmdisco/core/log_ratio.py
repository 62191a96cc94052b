"""The gradient of a discriminator's logit, and how often a run computes it.

Log ratios are functions of a pair of latents here, independent of networks and sampling loops.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mmdisco.core.av import AV, each
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.noise import NoiseLevel, broadcast_like
from mmdisco.errors import UserError
from mmdisco.io.shapes import Logit

LogRatioOf = Callable[[AV[Tensor]], Tensor]
"""The logit of each pair, shape (b,), as a function of the latents."""


@dataclass(frozen=True)
class LogRatio:
    """Logit h of a discriminator at a batch of pairs, and ∇h with respect to both latents."""

    logit: Logit
    gradient: AV[Tensor]


def log_ratio_gradient(
    log_ratio: LogRatioOf, z_t: AV[Tensor], *, create_graph: bool = False
) -> LogRatio:
    """Compute h and ∇h of each pair: the one place that differentiates a logit.

    Args:
        log_ratio: The logit of each pair, shape (b,), as a function of the latents. Pairs must not
            depend on one another: one backward pass serves the whole batch.
        z_t: Noisy latents; not changed, and no gradient flows into them.
        create_graph: Whether the result can be differentiated again, as training needs.
    """
    with torch.enable_grad():
        leaves = z_t.map(lambda x: x.detach().requires_grad_())
        logit = log_ratio(leaves)
        # adding 0 gives a logit that ignores a latent a gradient of 0 instead of an error
        total = logit.sum() + 0 * (leaves.audio.sum() + leaves.video.sum())
        audio, video = torch.autograd.grad(
            total, (leaves.audio, leaves.video), create_graph=create_graph
        )
    return LogRatio(logit if create_graph else logit.detach(), AV(audio, video))


GradientSource = Callable[[Discriminator, AV[Tensor], AV[NoiseLevel], AV[Tensor]], LogRatio]
"""Gives h and ∇h of a discriminator at noisy latents, their levels and captions."""


def backward_pass(
    discriminator: Discriminator, z_t: AV[Tensor], level: AV[NoiseLevel], text: AV[Tensor]
) -> LogRatio:
    """Differentiate the logit: the exact ``GradientSource``."""
    return log_ratio_gradient(lambda z: discriminator(z, level, text), z_t)


@dataclass(frozen=True)
class ReuseEvery:
    """Computes ∇h at the first of ``every`` guided evaluations and reuses it for the others.

    Begins any number of runs. Evaluations outside the interval of guidance are not counted.

    Attributes:
        every: Evaluations per gradient; 1 computes it every time.
        source: Gives the gradient: the backward pass, or a network distilled from it.
        watch: Called with each log ratio that is computed, and the levels of its latents.

    Raises:
        UserError: ``every`` is less than 1.
    """

    every: int = 1
    source: GradientSource = backward_pass
    watch: Callable[[LogRatio, AV[NoiseLevel]], object] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.every < 1:
            raise UserError(f"guidance at every {self.every} evaluations: ask for 1 or more")

    def begin(self) -> "LogRatioGradient":
        """Return the source of ∇h of a new run."""
        return LogRatioGradient(self)


@dataclass
class LogRatioGradient:
    """Source of ∇h for one run.

    It holds ∇h of the latents in variance-preserving units. Guidance multiplies it by the σ of the
    present level, so only the gradient is old and not the noise level.
    """

    reuse: ReuseEvery = field(default_factory=ReuseEvery)
    count: int = 0
    held: AV[Tensor] | None = None

    def at(
        self,
        discriminator: Discriminator,
        z_t: AV[Tensor],
        level: AV[NoiseLevel],
        text: AV[Tensor],
    ) -> AV[Tensor]:
        """Return ∇h with respect to both latents, or the one that is held."""
        if self.held is None or self.count % self.reuse.every == 0:
            found = self.reuse.source(discriminator, z_t, level, text)
            if self.reuse.watch is not None:
                self.reuse.watch(found, level)
            if self.reuse.every == 1:
                return found.gradient
            # the chain rule of x_vp = x / √(α² + σ²)
            scale = level.map(lambda own: own.magnitude)
            self.held = each(lambda g, m: g * broadcast_like(m, g), found.gradient, scale)
        self.count += 1
        return each(lambda g, own: g / broadcast_like(own.magnitude, g), self.held, level)
