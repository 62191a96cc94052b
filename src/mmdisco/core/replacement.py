"""The replacement method: a given side for networks with one shared noise level.

The exact conditional score takes h(x_t, y_0), with the given side clean. A network trained with
both sides at one level receives y_t = α y_0 + σ ε instead, at the timestep of x_t. That is the
replacement method of Song et al. (2021, arXiv:2011.13456, Appendix I.2): it guides, but not to
the conditional, even if the network knows the exact ratio (the toy study measures the error). ε
is redrawn at every level, so that no single draw biases a whole run.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from mmdisco.core.av import AV
from mmdisco.core.noise import NoiseLevel, NoiseSchedule
from mmdisco.core.rng import seeded_generator
from mmdisco.io.shapes import Latent

TICKS: Final = 2**16
"""Parts of a unit timestep that have noise of their own."""


@dataclass(frozen=True)
class Replacement:
    """Adds noise to a clean side, to the timestep of the other.

    The noise depends on ``seed``, timestep and modality and is the same for every sample, so
    runs are repeatable and no sample depends on its batch mates.

    Attributes:
        schedules: Schedule of either modality, with common timesteps.
        seed: Seed of the noise.
    """

    schedules: AV[NoiseSchedule]
    seed: int = 0

    def noised(self, z_t: AV[Tensor], level: AV[NoiseLevel]) -> tuple[AV[Tensor], AV[NoiseLevel]]:
        """Return both sides at one timestep; unchanged where neither or both are clean.

        Args:
            z_t: Latents, of which one may be clean.
            level: Their levels.
        """
        if level.audio.is_clean == level.video.is_clean:
            return z_t, level
        if level.video.is_clean:
            own = self.schedules.video.level(level.audio.t)
            video = own.add_noise(z_t.video, self._noise(z_t.video, own, 1))
            return AV(z_t.audio, video), AV(level.audio, own)
        own = self.schedules.audio.level(level.video.t)
        audio = own.add_noise(z_t.audio, self._noise(z_t.audio, own, 0))
        return AV(audio, z_t.video), AV(own, level.video)

    def _noise(self, clean: Latent, level: NoiseLevel, side: int) -> Tensor:
        def draw(t: float) -> Tensor:
            stream = 2 * round(t * TICKS) + side
            return torch.randn(clean.shape[1:], generator=seeded_generator(self.seed, stream))

        return torch.stack([draw(t) for t in level.t.tolist()]).to(clean)
