"""Fusion of two sequences of features into one logit.

The features are those of the towers, (b, frames, c) and (b, steps, c). In ``TimeFusion`` all
frames and audio steps attend to each other, on one clock of seconds; ``AdditiveFusion`` lets
neither modality see the other, and is the control for all others.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from mmdisco.core.av import AV, each
from mmdisco.discriminators.embeddings import Rotary, times_of
from mmdisco.errors import UserError
from mmdisco.io.bounds import check_sizes
from mmdisco.io.shapes import Logit, Tokens, Vector


class Fusion(nn.Module, ABC):
    """Head of a discriminator of two towers."""

    @abstractmethod
    def forward(self, features: AV[Tensor], condition: Vector) -> Logit:
        """Return the logit of each pair.

        Args:
            features: One vector per time step, (b, steps, c) of either modality, any lengths.
            condition: The embedding of both noise levels and both captions.
        """


@dataclass(frozen=True)
class FusionInputs:
    """Sizes that a fusion needs and its configuration does not hold.

    Attributes:
        features: Width of either tower's features.
        rates: Steps per second of either tower's features.
        condition: Width of the condition.
    """

    features: int
    rates: AV[float]
    condition: int


@dataclass(frozen=True)
class FusionConfig(ABC):
    """Shape of a ``Fusion``."""

    @abstractmethod
    def build(self, sources: FusionInputs) -> Fusion:
        """Build the network, with new weights."""


@dataclass(frozen=True)
class AdditiveFusionConfig(FusionConfig):
    """Shape of an ``AdditiveFusion``, which has no options."""

    @override
    def build(self, sources: FusionInputs) -> Fusion:
        return AdditiveFusion(sources)


@dataclass(frozen=True)
class PooledFusionConfig(FusionConfig):
    """Shape of a ``PooledFusion``.

    Attributes:
        width: Width of the hidden layer.
    """

    width: int = 256

    def __post_init__(self) -> None:
        check_sizes(self)

    @override
    def build(self, sources: FusionInputs) -> Fusion:
        return PooledFusion(self, sources)


@dataclass(frozen=True)
class TimeFusionConfig(FusionConfig):
    """Shape of a ``TimeFusion``.

    Attributes:
        d_model: Width of the tokens.
        num_layers: Number of transformer layers.
        num_heads: Number of attention heads; d_model / num_heads must be even.
    """

    d_model: int = 256
    num_layers: int = 4
    num_heads: int = 4

    def __post_init__(self) -> None:
        check_sizes(self)
        if self.d_model % (2 * self.num_heads) != 0:
            raise UserError(
                f"fusion d_model {self.d_model}: give a multiple of twice its {self.num_heads} "
                "heads"
            )

    @override
    def build(self, sources: FusionInputs) -> Fusion:
        return TimeFusion(self, sources)


class AdditiveFusion(Fusion):
    """logit = f(audio) + g(video): the head of three of the four released discriminators.

    Either latent's gradient is independent of the other latent, so it can improve each base's
    own samples and never their agreement.
    """

    def __init__(self, sources: FusionInputs) -> None:
        super().__init__()
        self.last = _small_linear(2 * sources.features)

    def forward(self, features: AV[Tensor], condition: Vector) -> Logit:
        """Return the logit of each pair; the features already contain the condition."""
        pooled = features.map(lambda one: one.mean(1))
        return self.last(torch.cat([pooled.audio, pooled.video], dim=1))[:, 0]


class PooledFusion(Fusion):
    """A hidden layer over both modalities, each averaged over time.

    It can see whether the two are of one kind, never whether they are simultaneous.
    """

    def __init__(self, config: PooledFusionConfig, sources: FusionInputs) -> None:
        super().__init__()
        self.hidden = nn.Linear(2 * sources.features, config.width)
        self.norm = AdaLayerNorm(config.width, sources.condition)
        self.last = _small_linear(config.width)

    @override
    def forward(self, features: AV[Tensor], condition: Vector) -> Logit:
        pooled = features.map(lambda one: one.mean(1))
        both = self.hidden(torch.cat([pooled.audio, pooled.video], dim=1))
        hidden = functional.gelu(self.norm(both[:, None], condition))
        return self.last(hidden)[:, 0, 0]


class TimeFusion(Fusion):
    """A transformer over all frames and audio steps together.

    Positions are seconds and enter as rotations alone, so only the time between two tokens
    counts, whatever the rates, the lengths, or the position of the clip in its source video. A
    class token would need a position on that clock; instead each modality's tokens are
    averaged, which favours no second and gives either modality equal weight, however many
    tokens it has.
    """

    def __init__(self, config: TimeFusionConfig, sources: FusionInputs) -> None:
        super().__init__()
        self.rates = sources.rates
        self.head_width = config.d_model // config.num_heads
        self.audio_in = nn.Linear(sources.features, config.d_model)
        self.video_in = nn.Linear(sources.features, config.d_model)
        self.audio_mark = nn.Parameter(torch.randn(config.d_model) * 0.02)
        self.video_mark = nn.Parameter(torch.randn(config.d_model) * 0.02)
        self.layers = nn.ModuleList(
            TransformerLayer(config, sources.condition) for _ in range(config.num_layers)
        )
        self.norm = AdaLayerNorm(config.d_model, sources.condition)
        self.last = _small_linear(2 * config.d_model)

    @override
    def forward(self, features: AV[Tensor], condition: Vector) -> Logit:
        tokens = torch.cat(
            [
                self.audio_in(features.audio) + self.audio_mark,
                self.video_in(features.video) + self.video_mark,
            ],
            dim=1,
        )
        seconds = each(lambda one, rate: times_of(one.shape[1], rate, one), features, self.rates)
        rotary = Rotary(torch.cat([seconds.audio, seconds.video]), self.head_width)
        for layer in self.layers:
            tokens = layer(tokens, condition, rotary)
        audio, video = self.norm(tokens, condition).split(
            [features.audio.shape[1], features.video.shape[1]], dim=1
        )
        return self.last(torch.cat([audio.mean(1), video.mean(1)], dim=1))[:, 0]


class TransformerLayer(nn.Module):
    """Pre-norm self-attention and MLP, each with a skip."""

    def __init__(self, config: TimeFusionConfig, condition: int) -> None:
        super().__init__()
        self.attention_norm = AdaLayerNorm(config.d_model, condition)
        self.attention = FusionAttention(config.d_model, config.num_heads)
        self.perceptron_norm = AdaLayerNorm(config.d_model, condition)
        self.perceptron = nn.Sequential(
            nn.Linear(config.d_model, 4 * config.d_model),
            nn.GELU(),
            nn.Linear(4 * config.d_model, config.d_model),
        )

    def forward(self, tokens: Tokens, condition: Vector, rotary: Rotary) -> Tokens:
        """Map tokens (b, tokens, width); every token attends to all."""
        tokens = tokens + self.attention(self.attention_norm(tokens, condition), rotary)
        return tokens + self.perceptron(self.perceptron_norm(tokens, condition))


class FusionAttention(nn.Module):
    """Self-attention of all tokens, written out.

    Training differentiates the gradient, and PyTorch's fused attention has no second
    derivative.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.into = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tokens, rotary: Rotary) -> Tokens:
        """Return the attention output of each token."""
        # (b, tokens, 3 · heads · d) -> three of (b, heads, tokens, d)
        query, key, value = self.into(tokens).unflatten(2, (3, self.heads, -1)).unbind(2)
        query, key = rotary.turn(query.transpose(1, 2)), rotary.turn(key.transpose(1, 2))
        weights = torch.softmax(query @ key.mT * self.scale, dim=-1)
        return self.out((weights @ value.transpose(1, 2)).transpose(1, 2).flatten(2))


class AdaLayerNorm(nn.Module):
    """LayerNorm, scaled and shifted by the condition."""

    def __init__(self, width: int, condition: int) -> None:
        super().__init__()
        self.width = width
        self.modulation = nn.Linear(condition, 2 * width)

    def forward(self, tokens: Tokens, condition: Vector) -> Tokens:
        """Normalise every token of a sample with the same scale and shift."""
        scale, shift = self.modulation(functional.silu(condition))[:, None].chunk(2, dim=2)
        return functional.layer_norm(tokens, [self.width]) * (1 + scale) + shift


def _small_linear(features: int) -> nn.Linear:
    # a new network should change the base prediction little; zeros would block the towers' gradient
    last = nn.Linear(features, 1)
    nn.init.normal_(last.weight, std=0.1 * features**-0.5)
    nn.init.zeros_(last.bias)
    return last
