"""Small trained base models: one MLP per modality, trained on samples to predict the noise."""

import math

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import silu
from typing_extensions import override

from mmdisco.core.denoiser import Conditioning, Denoiser
from mmdisco.core.noise import NoiseLevel, NoiseSchedule
from mmdisco.discriminators.embeddings import level_features
from mmdisco.experiments.toy.mixture import Mixture
from mmdisco.io.shapes import Latent
from mmdisco.training.checkpoint import EMA

LEVEL_WIDTH = 32
OCTAVES = 4


class NoiseNetwork(nn.Module):
    """ε̂ of a vector, (b, d), from Fourier features of it and of its noise level."""

    frequencies: Tensor

    def __init__(self, dimensions: int, width: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", 2.0 ** torch.arange(OCTAVES), persistent=False)
        self.first = nn.Linear(dimensions * (1 + 2 * OCTAVES) + LEVEL_WIDTH, width)
        self.second = nn.Linear(width + LEVEL_WIDTH, width)
        self.third = nn.Linear(width + LEVEL_WIDTH, width)
        self.last = nn.Linear(width, dimensions)

    def forward(self, x_t: Latent, level: NoiseLevel) -> Latent:
        """Predict the noise."""
        x = level.to_vp(x_t)
        at = level_features(level, LEVEL_WIDTH).to(x.dtype)
        phase = (x[:, :, None] * self.frequencies).flatten(1)
        x = silu(self.first(torch.cat([x, phase.sin(), phase.cos(), at], dim=1)))
        x = silu(self.second(torch.cat([x, at], dim=1)))
        x = silu(self.third(torch.cat([x, at], dim=1)))
        return self.last(x)


class TrainedDenoiser(Denoiser):
    """A base model trained on samples of its distribution only."""

    def __init__(self, network: NoiseNetwork, schedule: NoiseSchedule) -> None:
        self._network = network
        self._schedule = schedule

    @property
    def schedule(self) -> NoiseSchedule:
        """Schedule it was trained on."""
        return self._schedule

    @override
    def predict_noise(self, x_t: Latent, level: NoiseLevel, cond: Conditioning) -> Latent:
        return self._network(x_t, level)


def train_denoiser(
    law: Mixture,
    schedule: NoiseSchedule,
    *,
    steps: int = 3000,
    width: int = 64,
    batch_size: int = 256,
    learning_rate: float = 2e-3,
    seed: int,
) -> TrainedDenoiser:
    """Train by denoising score matching on fresh samples of ``law`` (Ho et al. 2020, Eq. 14)."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = NoiseNetwork(law.means.shape[1], width)
    average = EMA(network, 0.999)
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=0)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * (0.005 + 0.5 * (1 + math.cos(math.pi * step / steps)))
        loss = _denoising_error(network, law, schedule, batch_size, generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update(network, step)
    return TrainedDenoiser(average.network, schedule)


def _denoising_error(
    network: NoiseNetwork,
    law: Mixture,
    schedule: NoiseSchedule,
    batch_size: int,
    generator: Generator,
) -> Tensor:
    x_0 = law.sample(batch_size, generator).float()
    eps = torch.randn(x_0.shape, generator=generator)
    row = torch.randint(len(schedule.times), (batch_size,), generator=generator)
    level = schedule.level(schedule.times[row])
    return (network(level.add_noise(x_0, eps), level) - eps).square().mean()
