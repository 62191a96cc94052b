"""Interface of every discriminator; independent of losses, samplers and adapters."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from mmdisco.core.av import AV
from mmdisco.core.noise import NoiseLevel
from mmdisco.errors import UserError
from mmdisco.shapes import Logit


class Discriminator(nn.Module, ABC):
    """logit ≈ log q(a_t, v_s) − log p(a_t, v_s): a real pair against a sample of the base.

    For two independent base models p(a_t, v_s) = p(a_t) p(v_s). Audio and video each have a
    noise level of their own, so one network serves joint sampling (both levels fall together)
    and one-sided generation (the given side at level 0).
    """

    @abstractmethod
    def forward(self, z_t: AV[Tensor], level: AV[NoiseLevel], text: AV[Tensor]) -> Logit:
        """Return the log density ratio of each pair, unbounded and without any autograd inside.

        Args:
            z_t: Noisy latents in the units of their own schedule (VP, VE or flow); a network
                scales them to α² + σ² = 1 itself (``NoiseLevel.to_vp``).
            level: The noise level of either latent, one per sample.
            text: Pooled caption of either modality, shape (b, d); width 0 where there is none.
        """

    def pairwise_logits(
        self, z_t: AV[Tensor], level: AV[NoiseLevel], text: AV[Tensor], size: int
    ) -> Tensor:
        """Return the dot-product logits of every sound of a group with every video of it.

        Args:
            z_t: As for ``forward``, group by group.
            level: Equal within a group.
            text: Equal within a group.
            size: Pairs in a group; divides b.

        Returns:
            (b / size, products, size, size), a row for each sound; the sum over products is a
            logit.

        Raises:
            UserError: The discriminator has no dot products.
        """
        raise UserError(
            "this discriminator has no inner products, so pairs of a batch cannot be contrasted: "
            "give discriminator.fusion=attention+correlation, or no contrastive pretraining"
        )
