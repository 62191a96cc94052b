"""Fusion in time with inner products of what is heard and seen beside its transformer.

That two things go together is slow to be found by a transformer alone: what either side says is
useless until the other says it too, so neither has a gradient for long. A product of both has one
from the first step on.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmdisco.core.av import AV, each
from mmdisco.discriminators.embeddings import times_of
from mmdisco.discriminators.fusion import AdaLayerNorm, FusionInputs, TimeFusion, TimeFusionConfig
from mmdisco.shapes import Logit, Vector

_REACH: Final = (0.04, 2.7)  # seconds: from a frame to a clip


@dataclass(frozen=True)
class CorrelationFusionConfig(TimeFusionConfig):
    """Shape of a ``CorrelationFusion``.

    Attributes:
        products: Inner products, each of its own reach in time.
        product_width: Of the vectors that each multiplies.
    """

    products: int = 8
    product_width: int = 16

    def build(self, sources: FusionInputs) -> "CorrelationFusion":
        """A ``CorrelationFusion``, with new weights."""
        return CorrelationFusion(self, sources)


class CorrelationFusion(TimeFusion):
    """The logit of a ``TimeFusion`` and a sum of inner products."""

    def __init__(self, config: CorrelationFusionConfig, sources: FusionInputs) -> None:
        super().__init__(config, sources)
        self.products = LaggedDotProduct(config, sources)

    def forward(self, features: AV[Tensor], condition: Vector) -> Logit:
        """The logit of each pair; see ``Fusion``."""
        return super().forward(features, condition) + self.products(features, condition)


class LaggedDotProduct(nn.Module):
    """Σ_h g_h ⟨k_h(s − s′) a_h(s), v_h(s′)⟩, the mean over all audio steps s and frames s′.

    k_h is a Gaussian in seconds of learnt width and lag, of sum 1. The widths begin spread from a
    frame to a clip: events are told by what is simultaneous, what a thing is made of by all.
    """

    def __init__(self, config: CorrelationFusionConfig, sources: FusionInputs) -> None:
        super().__init__()
        self.rates = sources.rates
        self.heads = config.products
        values = config.products * config.product_width
        self.audio_norm = AdaLayerNorm(sources.features, sources.condition)
        self.video_norm = AdaLayerNorm(sources.features, sources.condition)
        self.audio = nn.Linear(sources.features, values)
        self.video = nn.Linear(sources.features, values)
        shortest, longest = torch.tensor(_REACH).log()
        self.log_reach = nn.Parameter(torch.linspace(shortest, longest, config.products))
        self.lag = nn.Parameter(torch.zeros(config.products))
        self.gain = nn.Linear(sources.condition, config.products)
        nn.init.constant_(self.gain.bias, 0.5 * config.product_width**-0.5)

    def forward(self, features: AV[Tensor], condition: Vector) -> Logit:
        """The sum of all products of each pair, (b,)."""
        heard, seen = self._sides(features, condition)
        return (heard * seen).flatten(1).sum(1)

    def pairwise_logits(self, features: AV[Tensor], condition: Vector, size: int) -> Tensor:
        """Each product of every sound of a group with every video of it.

        Costs little more than the pairs themselves: either side is read once.

        Args:
            features: Those of a tower each, group by group.
            condition: The same within a group.
            size: Pairs in a group; divides b.

        Returns:
            (b / size, products, size, size); their sum over products is the logit.
        """
        heard, seen = (
            side.transpose(1, 2).flatten(2).unflatten(0, (-1, size)).transpose(1, 2)
            for side in self._sides(features, condition)
        )
        return heard @ seen.mT

    def _sides(self, features: AV[Tensor], condition: Vector) -> tuple[Tensor, Tensor]:
        """What is heard, and what is seen around each audio step, (b, steps, heads, width)."""
        sides = (self.heads, -1)
        heard = self.audio(self.audio_norm(features.audio, condition)).unflatten(2, sides)
        seen = self.video(self.video_norm(features.video, condition)).unflatten(2, sides)
        seconds = each(lambda one, rate: times_of(one.shape[1], rate, one), features, self.rates)
        late = seconds.audio[:, None] - seconds.video - self.lag[:, None, None]
        kernel = torch.exp(-(late / self.log_reach.exp()[:, None, None]).square())
        # clips of any length at any rate: no frame may be in reach of a sound
        kernel = kernel / kernel.sum((1, 2), keepdim=True).clamp(min=1e-6)
        gain = self.gain(functional.silu(condition))
        return heard * gain[:, None, :, None], torch.einsum("bshd,hts->bthd", seen, kernel)
