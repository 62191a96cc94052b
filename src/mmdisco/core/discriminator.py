"""Interface of every discriminator; independent of losses, samplers and adapters."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from mmdisco.core.av import AV
from mmdisco.core.noise import NoiseLevel
from mmdisco.io.shapes import Logit


class Discriminator(nn.Module, ABC):
    """logit ≈ log q(a_t, v_τ) − log p(a_t, v_τ): a real pair against a sample of the base.

    For two independent base models p(a_t, v_τ) = p(a_t) p(v_τ). Audio and video each have a
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
