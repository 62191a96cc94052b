"""Fusion of both towers' features into one vector, in the three ways of the release.

The features are (b, frames, c) and (b, steps, c). The only other input is the embedding of the
noise level, without any caption.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from typing_extensions import override

from mmdisco.core.av import AV
from mmdisco.discriminators.official.transformer import Transformer, TransformerConfig
from mmdisco.shapes import Tokens, Vector


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
