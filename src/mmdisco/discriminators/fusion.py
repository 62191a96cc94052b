"""From two sequences of features to one logit.

The features are those of the towers, (b, frames, c) and (b, steps, c). ``TimeFusion`` lets every
frame and every audio step see each other, on one clock of seconds; ``AdditiveFusion`` lets nothing
see anything, and is the control against which the other must show its worth.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmdisco.core.av import AV, each
from mmdisco.discriminators.embeddings import Rotary, times_of
from mmdisco.errors import UserError
from mmdisco.io.bounds import check_sizes
from mmdisco.shapes import Logit, Tokens, Vector


class Fusion(nn.Module, ABC):
    """The head of a discriminator of two towers."""

    @abstractmethod
    def forward(self, features: AV[Tensor], condition: Vector) -> Logit:
        """The logit of each pair.

        Args:
            features: One vector per step of time, (b, steps, c) of either modality, any lengths.
            condition: The embedding of both noise levels and both captions.
        """


@dataclass(frozen=True)
class FusionInputs:
    """What a fusion is given: all that its configuration cannot know.

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
        """The network, with new weights."""


@dataclass(frozen=True)
class AdditiveFusionConfig(FusionConfig):
    """Shape of an ``AdditiveFusion``: it has no choices."""

    def build(self, sources: FusionInputs) -> Fusion:
        """An ``AdditiveFusion``, with new weights."""
        return AdditiveFusion(sources)


@dataclass(frozen=True)
class PooledFusionConfig(FusionConfig):
    """Shape of a ``PooledFusion``.

    Attributes:
        width: Of the hidden layer.
    """

    width: int = 256

    def __post_init__(self) -> None:
        check_sizes(self)

    def build(self, sources: FusionInputs) -> Fusion:
        """A ``PooledFusion``, with new weights."""
        return PooledFusion(self, sources)


@dataclass(frozen=True)
class TimeFusionConfig(FusionConfig):
    """Shape of a ``TimeFusion``.

    Attributes:
        width: Of the tokens.
        layers: Transformer layers.
        heads: Of the attention; width / heads must be even.
    """

    width: int = 256
    layers: int = 4
    heads: int = 4

    def __post_init__(self) -> None:
        check_sizes(self)
        if self.width % (2 * self.heads) != 0:
            raise UserError(
                f"fusion width {self.width}: give a multiple of twice its {self.heads} heads"
            )

    def build(self, sources: FusionInputs) -> Fusion:
        """A ``TimeFusion``, with new weights."""
        return TimeFusion(self, sources)


class AdditiveFusion(Fusion):
    """logit = f(audio) + g(video): the head of three of the four released discriminators.

    Either latent's gradient is blind to the other latent, so it can mend what each base makes and
    never how the two belong together.
    """

    def __init__(self, sources: FusionInputs) -> None:
        super().__init__()
        self.last = _small_linear(2 * sources.features)

    def forward(self, features: AV[Tensor], condition: Vector) -> Logit:
        """The logit of each pair; the condition is in the features already."""
        pooled = features.map(lambda one: one.mean(1))
        return self.last(torch.cat([pooled.audio, pooled.video], dim=1))[:, 0]


class PooledFusion(Fusion):
    """A hidden layer over both modalities, each averaged over time.

    It can see whether the two are of one kind, never whether they happen at one time.
    """

    def __init__(self, config: PooledFusionConfig, sources: FusionInputs) -> None:
        super().__init__()
        self.hidden = nn.Linear(2 * sources.features, config.width)
        self.norm = AdaLayerNorm(config.width, sources.condition)
        self.last = _small_linear(config.width)

    def forward(self, features: AV[Tensor], condition: Vector) -> Logit:
        """The logit of each pair; see ``Fusion``."""
        pooled = features.map(lambda one: one.mean(1))
        both = self.hidden(torch.cat([pooled.audio, pooled.video], dim=1))
        hidden = functional.gelu(self.norm(both[:, None], condition))
        return self.last(hidden)[:, 0, 0]


class TimeFusion(Fusion):
    """A transformer over all frames and audio steps together.

    Positions are seconds and enter as rotations alone, so only the time between two tokens counts,
    whatever the rates, the lengths, or where in a film the clip was cut. A class token would have
    to stand at some second of that clock; instead each modality's tokens are averaged, which gives
    no second a privilege and either modality half of the say, however many tokens it has.
    """

    def __init__(self, config: TimeFusionConfig, sources: FusionInputs) -> None:
        super().__init__()
        self.rates = sources.rates
        self.head_width = config.width // config.heads
        self.audio_in = nn.Linear(sources.features, config.width)
        self.video_in = nn.Linear(sources.features, config.width)
        self.audio_mark = nn.Parameter(torch.randn(config.width) * 0.02)
        self.video_mark = nn.Parameter(torch.randn(config.width) * 0.02)
        self.layers = nn.ModuleList(
            TransformerLayer(config, sources.condition) for _ in range(config.layers)
        )
        self.norm = AdaLayerNorm(config.width, sources.condition)
        self.last = _small_linear(2 * config.width)

    def forward(self, features: AV[Tensor], condition: Vector) -> Logit:
        """The logit of each pair; see ``Fusion``."""
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
    """Attention and a perceptron, each behind a norm and beside a skip."""

    def __init__(self, config: TimeFusionConfig, condition: int) -> None:
        super().__init__()
        self.attention_norm = AdaLayerNorm(config.width, condition)
        self.attention = FusionAttention(config.width, config.heads)
        self.perceptron_norm = AdaLayerNorm(config.width, condition)
        self.perceptron = nn.Sequential(
            nn.Linear(config.width, 4 * config.width),
            nn.GELU(),
            nn.Linear(4 * config.width, config.width),
        )

    def forward(self, tokens: Tokens, condition: Vector, rotary: Rotary) -> Tokens:
        """All tokens, each having seen all."""
        tokens = tokens + self.attention(self.attention_norm(tokens, condition), rotary)
        return tokens + self.perceptron(self.perceptron_norm(tokens, condition))


class FusionAttention(nn.Module):
    """Self-attention of all tokens, written out.

    Training differentiates the gradient, and PyTorch's fused attention has no second derivative.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.into = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tokens, rotary: Rotary) -> Tokens:
        """What each token takes from all."""
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
        """Every token of a sample by the same scale and shift."""
        scale, shift = self.modulation(functional.silu(condition))[:, None].chunk(2, dim=2)
        return functional.layer_norm(tokens, [self.width]) * (1 + scale) + shift


def _small_linear(features: int) -> nn.Linear:
    # a new network should move the bases little; zeros would leave the towers without gradient
    last = nn.Linear(features, 1)
    nn.init.normal_(last.weight, std=0.1 * features**-0.5)
    nn.init.zeros_(last.bias)
    return last
