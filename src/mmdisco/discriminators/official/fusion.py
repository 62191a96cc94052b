"""Fusion of both towers' features into one vector, in the three ways of the release.

The features are (b, frames, c) and (b, steps, c). The only other input is the embedding of the
noise level, without any caption. The transformer has learned positions, pre-norm, and one vector
out. A position is an index in the sequence, not a time: with another number of frames every audio
step has another position. The attention is written out, to be differentiated twice.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from mmdisco.core.av import AV
from mmdisco.discriminators.official.attention import attend
from mmdisco.errors import UserError
from mmdisco.io.bounds import check_sizes
from mmdisco.io.shapes import Tokens, Vector

POSITIONS: Final = 128
HEADS: Final = 8
HEAD_WIDTH: Final = 64


class Readout(nn.Module, ABC):
    """Reduction of a sequence of tokens of some width to one vector."""

    @abstractmethod
    def __init__(self, width: int) -> None:
        super().__init__()

    @abstractmethod
    def begin(self, tokens: Tokens) -> Tensor:
        """Return the sequence that enters the layers."""

    @abstractmethod
    def end(self, tokens: Tokens) -> Vector:
        """Return the vector, (b, width), of the layers' output."""


class ClassToken(Readout):
    """Readout of a learned token in front."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.token = nn.Parameter(torch.zeros(width))

    def begin(self, tokens: Tokens) -> Tensor:
        """Prepend the learned token."""
        return torch.cat([self.token.expand(tokens.shape[0], 1, -1), tokens], dim=1)

    def end(self, tokens: Tokens) -> Vector:
        """Return the first token."""
        return tokens[:, 0]


class MeanOfTokens(Readout):
    """Readout by the mean of all tokens, that of the noise level included."""

    def __init__(self, width: int) -> None:
        super().__init__(width)

    def begin(self, tokens: Tokens) -> Tensor:
        """Return the tokens unchanged."""
        return tokens

    def end(self, tokens: Tokens) -> Vector:
        """Return their mean."""
        return tokens.mean(1)


@dataclass(frozen=True)
class TransformerConfig:
    """Shape of a ``Transformer``.

    Attributes:
        width: Width of the tokens, even.
        layers: Pairs of attention and MLP.
        features: Width of the output vector.
        readout: Reduction of the sequence to one vector.
    """

    width: int
    layers: int
    features: int
    readout: type[Readout]

    def __post_init__(self) -> None:
        check_sizes(self)
        if self.width % 2 != 0:
            raise UserError(f"discriminator width {self.width} of the fusion: give an even number")


class Transformer(nn.Module):
    """Alternating pre-norm attention and MLPs, each with a skip."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.width
        self.readout = config.readout(width)
        self.positions = nn.Parameter(torch.zeros(POSITIONS, width))
        self.blocks = nn.ModuleList(
            block(width)
            for _ in range(config.layers)
            for block in (TransformerSelfAttention, Perceptron)
        )
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, config.features)

    def forward(self, tokens: Tokens) -> Vector:
        """Map a sequence to one vector, (b, features).

        Raises:
            UserError: The sequence has more tokens than there are positions.
        """
        tokens = self.readout.begin(tokens)
        count = tokens.shape[1]
        if count > POSITIONS:
            raise UserError(
                f"this clip makes {count} tokens of video frames and audio steps, and the released "
                f"discriminator has positions for {POSITIONS}: ask for a shorter one"
            )
        tokens = tokens + self.positions[:count]
        for block in self.blocks:
            tokens = tokens + block(tokens)
        return self.readout.end(self.out(self.norm(tokens)))


class TransformerSelfAttention(nn.Module):
    """Self-attention of eight heads of 64 each, whatever the width of the tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = HEADS * HEAD_WIDTH
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, inner, bias=False)
        self.key = nn.Linear(width, inner, bias=False)
        self.value = nn.Linear(width, inner, bias=False)
        self.out = nn.Linear(inner, width)

    def forward(self, tokens: Tokens) -> Tokens:
        """Return the attention output of each token."""

        def heads(one: Tensor) -> Tensor:
            return one.unflatten(2, (HEADS, HEAD_WIDTH)).transpose(1, 2)

        normed = self.norm(tokens)
        query, key, value = self.query(normed), self.key(normed), self.value(normed)
        return self.out(attend(heads(query), heads(key), heads(value)))


class Perceptron(nn.Module):
    """Pre-norm MLP with a hidden layer four times as wide."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first = nn.Linear(width, 4 * width)
        self.second = nn.Linear(4 * width, width)

    def forward(self, tokens: Tokens) -> Tokens:
        """Map every token separately."""
        return self.second(functional.gelu(self.first(self.norm(tokens))))


class OfficialFusion(nn.Module, ABC):
    """Head of the released network, without its last linear layer.

    Attributes:
        features: Width of the output.
    """

    features: int

    @abstractmethod
    def forward(self, features: AV[Tensor], time: Vector) -> Tensor:
        """Return one vector for each pair, (b, features).

        Args:
            features: One vector per time step, (b, steps, c) of either modality.
            time: The embedding of the noise level.

        Raises:
            UserError: There are more steps than the fusion has positions for.
        """


@dataclass(frozen=True)
class OfficialFusionConfig(ABC):
    """Shape of an ``OfficialFusion``."""

    @abstractmethod
    def build(self, features: int, embedding: int) -> OfficialFusion:
        """Build the network, with new weights.

        Args:
            features: Width of either tower's features.
            embedding: Width of the embedding of the noise level.
        """


@dataclass(frozen=True)
class MeanFusionConfig(OfficialFusionConfig):
    """Shape of a ``MeanFusion``, which has no options."""

    @override
    def build(self, features: int, embedding: int) -> OfficialFusion:
        return MeanFusion(features)


@dataclass(frozen=True)
class SequenceFusionConfig(OfficialFusionConfig):
    """Shape of a ``SequenceFusion``.

    Attributes:
        transformer: Transformer over the tokens.
    """

    transformer: TransformerConfig

    @override
    def build(self, features: int, embedding: int) -> OfficialFusion:
        return SequenceFusion(self.transformer, features, embedding)


@dataclass(frozen=True)
class ChannelFusionConfig(OfficialFusionConfig):
    """Shape of a ``ChannelFusion``.

    Attributes:
        transformer: Transformer over the tokens.
    """

    transformer: TransformerConfig

    @override
    def build(self, features: int, embedding: int) -> OfficialFusion:
        return ChannelFusion(self.transformer, features, embedding)


class MeanFusion(OfficialFusion):
    """Concatenated means over time.

    With the linear layer after it, the logit is a sum of a function of the sound and a function
    of the video: neither's gradient depends on the other.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = 2 * features

    def forward(self, features: AV[Tensor], time: Vector) -> Tensor:
        """Return the video's mean, then the audio's."""
        return torch.cat([features.video.mean(1), features.audio.mean(1)], dim=1)


class SequenceFusion(OfficialFusion):
    """Noise level, video frames and audio steps as one sequence of tokens."""

    def __init__(self, config: TransformerConfig, features: int, embedding: int) -> None:
        super().__init__()
        self.features = config.features
        self.time_in = nn.Linear(embedding, config.width)
        self.audio_in = nn.Linear(features, config.width)
        self.video_in = nn.Linear(features, config.width)
        self.transformer = Transformer(config)

    @override
    def forward(self, features: AV[Tensor], time: Vector) -> Tensor:
        tokens = torch.cat(
            [
                self.time_in(time)[:, None],
                self.video_in(features.video),
                self.audio_in(features.audio),
            ],
            dim=1,
        )
        return self.transformer(tokens)


class ChannelFusion(OfficialFusion):
    """Noise level, then tokens of a frame and an audio step each, half the channels from either.

    The shorter of the two is stretched to the length of the longer by repeating its steps.
    """

    def __init__(self, config: TransformerConfig, features: int, embedding: int) -> None:
        super().__init__()
        self.features = config.features
        self.time_in = nn.Linear(embedding, config.width)
        self.audio_in = nn.Linear(features, config.width // 2)
        self.video_in = nn.Linear(features, config.width // 2)
        self.transformer = Transformer(config)

    @override
    def forward(self, features: AV[Tensor], time: Vector) -> Tensor:
        count = max(features.audio.shape[1], features.video.shape[1])
        pairs = [
            stretch(self.video_in(features.video), count),
            stretch(self.audio_in(features.audio), count),
        ]
        tokens = torch.cat([self.time_in(time)[:, None], torch.cat(pairs, dim=2)], dim=1)
        return self.transformer(tokens)


def stretch(tokens: Tokens, count: int) -> Tensor:
    """Return ``count`` tokens, of which the i-th is number ⌊i n / count⌋ of the n given."""
    given = tokens.shape[1]
    return tokens[:, torch.arange(count, device=tokens.device) * given // count]
