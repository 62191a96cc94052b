"""Training of denoisers, each on the latents of its own modality alone."""

from typing import Final

import torch
from torch import Generator, Tensor

from mmdisco.adapters.miniature.denoiser import ConvTransformer
from mmdisco.core.noise import NoiseSchedule
from mmdisco.core.parameterization import VPrediction
from mmdisco.io.shapes import Latent
from mmdisco.training.bases.fit import FitRun

WITHOUT_CAPTION: Final = 0.1  # share of captions that are dropped, for classifier-free guidance


def train_denoiser(
    network: ConvTransformer,
    schedule: NoiseSchedule,
    latents: Latent,
    captions: tuple[Tensor, Tensor],
    run: FitRun,
) -> ConvTransformer:
    """Train a denoiser to predict v.

    Args:
        network: The network.
        schedule: Schedule of its noise levels.
        latents: Clean latents, batch first.
        captions: Vector of each caption, and that of the empty one, (1, d).
        run: Settings, seed and checkpoint.

    Returns:
        The averaged network.
    """
    rows, batch, (texts, empty) = len(schedule.times), run.config.batch_size, captions

    def loss_of(step: int, generator: Generator) -> Tensor:
        del step
        chosen = torch.randint(len(latents), (batch,), generator=generator)
        x_0 = latents[chosen]
        dropped = torch.rand(batch, 1, generator=generator) < WITHOUT_CAPTION
        text = torch.where(dropped, empty, texts[chosen])
        # stratified: one draw from each of equal parts of the schedule
        jitter = torch.rand(batch, generator=generator, dtype=torch.float64)
        t = ((torch.arange(batch) + jitter) / batch * rows).floor()
        level = schedule.level(t)
        eps = torch.randn(x_0.shape, generator=generator)
        x_t = level.add_noise(x_0, eps)
        v = VPrediction().from_eps(eps, x_t, level)
        return (network(x_t, level, text) - v).square().mean()

    return run.fit(network, loss_of)
