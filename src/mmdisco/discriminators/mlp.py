"""The discriminator of vector pairs: an MLP on Fourier features, for a few dimensions."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import silu
from typing_extensions import override

from mmdisco.core.av import AV, each
from mmdisco.core.noise import NoiseLevel
from mmdisco.discriminators.correlation import PairwiseDiscriminator
from mmdisco.discriminators.embeddings import level_features
from mmdisco.io.bounds import check_sizes
from mmdisco.io.shapes import Latent, Logit


@dataclass(frozen=True)
class VectorConfig:
    """Shape of a ``VectorDiscriminator``.

    Attributes:
        dimensions: Dimensions of one modality's vector.
        width: Width of the hidden layers.
        layers: Number of hidden layers.
        octaves: Fourier features sin and cos of 2^k z for k < octaves, beside z itself; an MLP
            on z alone learns no fine structure.
        text_width: Width of the pooled caption of either modality; 0 without captions.
        level_width: Features of each noise level.
    """

    dimensions: int = 1
    width: int = 96
    layers: int = 3
    octaves: int = 4
    text_width: int = 0
    level_width: int = 32

    def __post_init__(self) -> None:
        check_sizes(self)


class VectorDiscriminator(PairwiseDiscriminator):
    """Log ratio of pairs of vectors, (b, d) each.

    Both noise levels enter every layer. The last layer starts at zero, so training begins at
    the unguided baseline.
    """

    frequencies: Tensor

    def __init__(self, config: VectorConfig) -> None:
        super().__init__()
        self.config = config
        features = 2 * config.dimensions * (1 + 2 * config.octaves)
        context = 2 * (config.level_width + config.text_width)
        self.register_buffer("frequencies", 2.0 ** torch.arange(config.octaves), persistent=False)
        self.first = nn.Linear(features + context, config.width)
        self.hidden = nn.ModuleList(
            nn.Linear(config.width, config.width) for _ in range(config.layers - 1)
        )
        self.context = nn.ModuleList(
            nn.Linear(context, config.width) for _ in range(config.layers - 1)
        )
        self.last = nn.Linear(config.width, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    @override
    def forward(self, z_t: AV[Tensor], level: AV[NoiseLevel], text: AV[Tensor]) -> Logit:
        features = each(self._features, z_t, level)
        levels = level.map(
            lambda one: level_features(one, self.config.level_width).to(z_t.audio.dtype)
        )
        context = torch.cat([levels.audio, levels.video, text.audio, text.video], dim=1)
        x = silu(self.first(torch.cat([features.audio, features.video, context], dim=1)))
        for hidden, from_context in zip(self.hidden, self.context, strict=True):
            x = silu(hidden(x) + from_context(context))
        return self.last(x)[:, 0]

    @override
    def pairwise_logits(
        self, z_t: AV[Tensor], level: AV[NoiseLevel], text: AV[Tensor], size: int
    ) -> Tensor:
        rows = torch.arange(len(z_t.audio)).unflatten(0, (-1, size))
        pairs = AV(rows[:, :, None].expand(-1, -1, size), rows[:, None].expand(-1, size, -1))
        chosen = pairs.map(torch.flatten)
        z_t, text = (each(lambda x, own: x[own], one, chosen) for one in (z_t, text))
        level = each(
            lambda one, own: NoiseLevel(one.t[own], one.alpha[own], one.sigma[own]), level, chosen
        )
        return self(z_t, level, text).unflatten(0, (-1, 1, size, size))

    def _features(self, x_t: Latent, level: NoiseLevel) -> Tensor:
        x = level.to_vp(x_t)
        phase = (x[:, :, None] * self.frequencies).flatten(1)
        return torch.cat([x, phase.sin(), phase.cos()], dim=1)
