"""What every discriminator promises. Knows noise levels; knows no loss, no sampler, no adapter."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from mmdisco.core.av import AV
from mmdisco.core.noise import NoiseLevel
from mmdisco.errors import UserError
from mmdisco.shapes import Logit


class Discriminator(nn.Module, ABC):
    """logit ≈ log q(a_t, v_s) − log p(a_t, v_s): a real pair against one the base made.

    For two independent bases p(a_t, v_s) = p(a_t) p(v_s). The audio and the video each have a
    noise level of their own, so one network serves joint sampling (both levels walk down together)
    and one-sided generation (the given side at level 0).
    """

    @abstractmethod
    def forward(self, z_t: AV[Tensor], level: AV[NoiseLevel], text: AV[Tensor]) -> Logit:
        """The log density ratio of each pair, unbounded and without any autograd inside.

        Args:
            z_t: Noisy latents in the units of their own schedule (VP, VE or flow).
            level: The noise level of either latent, one per sample.
            text: Pooled caption of either modality, shape (b, d); width 0 where there is none.
        """

    def pairwise_logits(
        self, z_t: AV[Tensor], level: AV[NoiseLevel], text: AV[Tensor], size: int
    ) -> Tensor:
        """What its products say of every sound of a group with every video of it.

        Args:
            z_t: As for ``forward``, group by group.
            level: The same within a group.
            text: The same within a group.
            size: Pairs in a group; divides b.

        Returns:
            (b / size, products, size, size), a row for each sound; logits that add up.

        Raises:
            UserError: It has no products.
        """
        raise UserError(
            "this discriminator multiplies nothing, so pairs of a batch cannot be contrasted: give "
            "it products (discriminator.interaction), or no contrast"
        )
