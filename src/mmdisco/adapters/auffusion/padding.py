"""Continuation of short sounds, for a network that was trained on 10.24 s only.

A shorter latent is continued with silence at the same noise level, q(z_t | silence) =
α_t z + σ_t ε. The ε is the same at every step, for every sample and with either caption: a sound
depends on its own seed alone, and classifier-free guidance has no difference of two noises to
amplify.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from mmdisco.core.noise import NoiseLevel
from mmdisco.shapes import AudioLatent

COLUMNS: Final = 128


@dataclass(frozen=True)
class SilencePadding:
    """Silence and its noise.

    Attributes:
        silence: Clean latent of 10.24 s of silence, (c, 128, m).
        noise: ε of the same shape.
    """

    silence: Tensor
    noise: Tensor

    @staticmethod
    def seeded(silence: Tensor, seed: int = 0) -> "SilencePadding":
        """Draw the noise from a seed of its own, the same on every device."""
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(silence.shape, generator=generator)
        return SilencePadding(silence, noise.to(silence))

    def extend(self, x_t: AudioLatent, level: NoiseLevel) -> Tensor:
        """Continue latents (b, c, l, m) of at most 128 columns to (b, c, 128, m).

        Args:
            x_t: Noisy latents.
            level: Noise level of each sample.
        """
        columns = x_t.shape[2]
        shape = (x_t.shape[0], *self.silence.shape)
        silence = self.silence.to(x_t).expand(shape)
        noisy = level.add_noise(silence, self.noise.to(x_t).expand(shape))
        return torch.cat([x_t, noisy[:, :, columns:]], dim=2)
