"""Fusion over time whose transformer is complemented by inner products of audio and video.

A transformer alone is slow to learn which audio and video features go together: neither side's
features are useful before the other's are, so neither gets a gradient for a long time. An inner
product of the two gives both a gradient from the start.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from mmdisco.core.av import AV, each
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.noise import NoiseLevel
from mmdisco.discriminators.embeddings import times_of
from mmdisco.discriminators.fusion import AdaLayerNorm, FusionInputs, TimeFusion, TimeFusionConfig
from mmdisco.errors import UserError
from mmdisco.io.shapes import Logit, Vector

_REACH: Final = (0.04, 2.7)  # seconds: from a frame to a clip
NO_PRODUCTS: Final = (
    "this discriminator has no inner products, so pairs of a batch cannot be contrasted: give "
    "discriminator.fusion=attention+correlation, or no contrastive pretraining"
)


class PairwiseDiscriminator(Discriminator):
    """Discriminator that also scores every sound of a group against every video of it."""

    @abstractmethod
    def pairwise_logits(
        self, z_t: AV[Tensor], level: AV[NoiseLevel], text: AV[Tensor], size: int
    ) -> Tensor:
        """Return the logits of every sound of a group with every video of it.

        Args:
            z_t: As for ``forward``, group by group.
            level: Equal within a group.
            text: Equal within a group.
            size: Pairs in a group; divides b.

        Returns:
            (b / size, products, size, size), a row for each sound; the sum over products is a
            logit: of the dot products alone where a network has them, else of the whole network.

        Raises:
            UserError: The discriminator has no dot products.
        """


def pairwise(discriminator: Discriminator) -> PairwiseDiscriminator:
    """Return a discriminator as one with dot products.

    Raises:
        UserError: It has none.
    """
    if isinstance(discriminator, PairwiseDiscriminator):
        return discriminator
    raise UserError(NO_PRODUCTS)


@dataclass(frozen=True)
class CorrelationFusionConfig(TimeFusionConfig):
    """Shape of a ``CorrelationFusion``.

    Attributes:
        num_products: Number of inner products, each with its own bandwidth in time.
        product_dim: Width of the vectors in each product.
    """

    num_products: int = 8
    product_dim: int = 16

    @override
    def build(self, sources: FusionInputs) -> "CorrelationFusion":
        return CorrelationFusion(self, sources)


class CorrelationFusion(TimeFusion):
    """Sum of the logit of a ``TimeFusion`` and of inner products."""

    def __init__(self, config: CorrelationFusionConfig, sources: FusionInputs) -> None:
        super().__init__(config, sources)
        self.products = LaggedDotProduct(config, sources)

    @override
    def forward(self, features: AV[Tensor], condition: Vector) -> Logit:
        return super().forward(features, condition) + self.products(features, condition)


class LaggedDotProduct(nn.Module):
    """Σ_h g_h ⟨k_h(s − s′) a_h(s), v_h(s′)⟩, summed over all audio steps s and frames s′.

    k_h is a Gaussian in seconds of learnt width and lag; each is normalised to sum 1 over all
    pairs of a step and a frame. The widths are initialised from a frame to a clip: events show
    in what is simultaneous, timbre and colour in the whole clip.
    """

    def __init__(self, config: CorrelationFusionConfig, sources: FusionInputs) -> None:
        super().__init__()
        self.rates = sources.rates
        self.heads = config.num_products
        values = config.num_products * config.product_dim
        self.audio_norm = AdaLayerNorm(sources.features, sources.condition)
        self.video_norm = AdaLayerNorm(sources.features, sources.condition)
        self.audio = nn.Linear(sources.features, values)
        self.video = nn.Linear(sources.features, values)
        shortest, longest = torch.tensor(_REACH).log()
        self.log_reach = nn.Parameter(torch.linspace(shortest, longest, config.num_products))
        self.lag = nn.Parameter(torch.zeros(config.num_products))
        self.gain = nn.Linear(sources.condition, config.num_products)
        nn.init.constant_(self.gain.bias, 0.5 * config.product_dim**-0.5)

    def forward(self, features: AV[Tensor], condition: Vector) -> Logit:
        """Return the sum of all products of each pair, (b,)."""
        heard, seen = self._sides(features, condition)
        return (heard * seen).flatten(1).sum(1)

    def pairwise_logits(self, features: AV[Tensor], condition: Vector, size: int) -> Tensor:
        """Return each product of every sound of a group with every video of it.

        This costs little more than the pairs themselves: each side is evaluated once.

        Args:
            features: Features of either tower, group by group.
            condition: Equal within a group.
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
        """Return audio, and video weighted around each audio step, (b, steps, heads, width)."""
        sides = (self.heads, -1)
        heard = self.audio(self.audio_norm(features.audio, condition)).unflatten(2, sides)
        seen = self.video(self.video_norm(features.video, condition)).unflatten(2, sides)
        seconds = each(lambda one, rate: times_of(one.shape[1], rate, one), features, self.rates)
        late = seconds.audio[:, None] - seconds.video - self.lag[:, None, None]
        kernel = torch.exp(-(late / self.log_reach.exp()[:, None, None]).square())
        # clips of any length at any rate: a sound may have no frame within its bandwidth
        kernel = kernel / kernel.sum((1, 2), keepdim=True).clamp(min=1e-6)
        gain = self.gain(functional.silu(condition))
        return heard * gain[:, None, :, None], torch.einsum("bshd,hts->bthd", seen, kernel)
