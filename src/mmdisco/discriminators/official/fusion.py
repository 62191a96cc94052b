"""From the features of both towers to one vector, in the three ways of the release.

The features are (b, frames, c) and (b, steps, c). Knows no latent; of the noise level it is given
the embedding, without any caption.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmdisco.core.av import AV
from mmdisco.discriminators.official.transformer import Transformer, TransformerConfig
from mmdisco.shapes import Tokens, Vector


class OfficialFusion(nn.Module, ABC):
    """The head of the released network, but for its last linear layer.

    Attributes:
        features: Width of what comes out.
    """

    features: int

    @abstractmethod
    def forward(self, features: AV[Tensor], time: Vector) -> Tensor:
        """One vector for each pair, (b, features).

        Args:
            features: One vector per step of time, (b, steps, c) of either modality.
            time: The embedding of the noise level.

        Raises:
            UserError: There are more steps than the fusion has positions for.
        """


@dataclass(frozen=True)
class OfficialFusionConfig(ABC):
    """Shape of a ``OfficialFusion``."""

    @abstractmethod
    def build(self, features: int, embedding: int) -> OfficialFusion:
        """The network, with new weights.

        Args:
            features: Width of either tower's features.
            embedding: Width of the embedding of the noise level.
        """


@dataclass(frozen=True)
class MeanFusionConfig(OfficialFusionConfig):
    """Shape of a ``MeanFusion``: it has no choices."""

    def build(self, features: int, embedding: int) -> OfficialFusion:
        """A ``MeanFusion``."""
        return MeanFusion(features)


@dataclass(frozen=True)
class SequenceFusionConfig(OfficialFusionConfig):
    """Shape of a ``SequenceFusion``.

    Attributes:
        transformer: What the tokens go through.
    """

    transformer: TransformerConfig

    def build(self, features: int, embedding: int) -> OfficialFusion:
        """A ``SequenceFusion``, with new weights."""
        return SequenceFusion(self.transformer, features, embedding)


@dataclass(frozen=True)
class ChannelFusionConfig(OfficialFusionConfig):
    """Shape of a ``ChannelFusion``.

    Attributes:
        transformer: What the tokens go through.
    """

    transformer: TransformerConfig

    def build(self, features: int, embedding: int) -> OfficialFusion:
        """A ``ChannelFusion``, with new weights."""
        return ChannelFusion(self.transformer, features, embedding)


class MeanFusion(OfficialFusion):
    """Means over time, side by side.

    With the linear layer after it, the logit is a sum of a function of the sound and a function of
    the video: neither's gradient sees the other.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = 2 * features

    def forward(self, features: AV[Tensor], time: Vector) -> Tensor:
        """The video's mean, then the audio's."""
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

    def forward(self, features: AV[Tensor], time: Vector) -> Tensor:
        """One vector for each pair; see ``OfficialFusion``."""
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

    def forward(self, features: AV[Tensor], time: Vector) -> Tensor:
        """One vector for each pair; see ``OfficialFusion``."""
        count = max(features.audio.shape[1], features.video.shape[1])
        pairs = [
            stretch(self.video_in(features.video), count),
            stretch(self.audio_in(features.audio), count),
        ]
        tokens = torch.cat([self.time_in(time)[:, None], torch.cat(pairs, dim=2)], dim=1)
        return self.transformer(tokens)


def stretch(tokens: Tokens, count: int) -> Tensor:
    """``count`` tokens, of which the i-th is number ⌊i n / count⌋ of the n given."""
    given = tokens.shape[1]
    return tokens[:, torch.arange(count, device=tokens.device) * given // count]
