"""The audio-video discriminator: one tower per modality, and a fusion over time.

It embeds levels and captions and passes that embedding to the towers and the fusion; it is
independent of losses, samplers and base models.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from mmdisco.core.av import AV, each
from mmdisco.core.noise import NoiseLevel
from mmdisco.discriminators.convolutions import (
    FlatLatents,
    Latents,
    SpectrogramLatents,
    VideoLatents,
    WaveformLatents,
)
from mmdisco.discriminators.correlation import (
    NO_PRODUCTS,
    CorrelationFusion,
    CorrelationFusionConfig,
    PairwiseDiscriminator,
)
from mmdisco.discriminators.embeddings import LevelEmbedding
from mmdisco.discriminators.fusion import (
    AdditiveFusionConfig,
    FusionConfig,
    FusionInputs,
    PooledFusionConfig,
    TimeFusionConfig,
)
from mmdisco.discriminators.towers import Frugality, Tower
from mmdisco.errors import UserError
from mmdisco.io.bounds import check_sizes
from mmdisco.io.shapes import Logit, Text, Vector

_AUDIO = {"spectrogram": SpectrogramLatents, "waveform": WaveformLatents, "flat": FlatLatents}
_VIDEO = {"video": VideoLatents, "flat": FlatLatents}
_FUSION = {
    "attention": TimeFusionConfig,
    "attention+correlation": CorrelationFusionConfig,
    "pooled": PooledFusionConfig,
    "additive": AdditiveFusionConfig,
}


@dataclass(frozen=True)
class AudioVideoConfig:
    """Shape of an ``AudioVideoDiscriminator``.

    Attributes:
        audio: The sound's latents.
        video: The video's latents.
        width: Channels of a tower's first level, C in the paper.
        depth: Residual blocks per level, L in the paper.
        channel_mult: Channels of each level, in units of ``width``.
        fusion: Fusion of the two sequences of features into one logit.
        frugality: Precision and memory of the towers.
    """

    audio: SpectrogramLatents | WaveformLatents | FlatLatents
    video: VideoLatents | FlatLatents
    width: int = 128
    depth: int = 4
    channel_mult: tuple[int, ...] = (1, 2, 4)
    fusion: FusionConfig = field(default_factory=TimeFusionConfig)
    frugality: Frugality = field(default_factory=Frugality)

    def __post_init__(self) -> None:
        check_sizes(self)
        if not self.channel_mult or min(self.channel_mult) < 1:
            raise UserError(
                f"discriminator channel_mult {self.channel_mult}: give one or more, each at least 1"
            )

    def to_record(self) -> dict[str, Any]:
        """Return the configuration in JSON's types."""
        return {
            "audio": _to_record(self.audio, _AUDIO),
            "video": _to_record(self.video, _VIDEO),
            "width": self.width,
            "depth": self.depth,
            "channel_mult": list(self.channel_mult),
            "fusion": _to_record(self.fusion, _FUSION),
            "frugality": dataclasses.asdict(self.frugality),
        }

    @staticmethod
    def from_record(record: Any) -> "AudioVideoConfig":
        """Invert ``to_record``.

        Args:
            record: What a JSON file holds, of any type.

        Raises:
            UserError: The record describes no such configuration.
        """
        try:
            parts: dict[str, Any] = {
                "audio": _from_record(record["audio"], _AUDIO),
                "video": _from_record(record["video"], _VIDEO),
                "fusion": _from_record(record["fusion"], _FUSION),
                "channel_mult": tuple(record["channel_mult"]),
                "frugality": Frugality(**record.get("frugality", {})),
            }
            numbers = {key: value for key, value in record.items() if key not in parts}
            return AudioVideoConfig(**parts, **numbers)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            said = " ".join(str(error).split())[:120]
            raise UserError(
                f"no configuration of a discriminator that this version reads: {said}"
            ) from error


def _to_record(config: Latents | FusionConfig, kinds: Mapping[str, type]) -> dict[str, Any]:
    (kind,) = (name for name, one in kinds.items() if type(config) is one)
    return {"kind": kind, **dataclasses.asdict(config)}


def _from_record(record: Any, kinds: Mapping[str, type]) -> Any:
    # JSON has lists where the dataclasses have tuples
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in record.items()
    }
    kind = str(values.pop("kind"))
    if kind not in kinds:
        raise ValueError(f"unknown kind {kind!r}, known are {', '.join(kinds)}")
    return kinds[kind](**values)


class AudioVideoDiscriminator(PairwiseDiscriminator):
    """Log ratio of pairs of sound and video latents.

    Both noise levels and a modality's own caption reach every block of its tower; the levels
    and both captions reach every layer of the fusion. Latents may have any length and, down to
    the window of all pools together, any extent in space. A video is (b, c, f, h, w), a sound
    (b, c, l, m) or (b, c, l). Flat latents have a fixed extent in space.
    """

    def __init__(self, config: AudioVideoConfig) -> None:
        super().__init__()
        self.config = config
        self.level = LevelEmbedding(config.width)
        self.audio_text = text_embedding(config.audio.text_width, config.width)
        self.video_text = text_embedding(config.video.text_width, config.width)
        self.audio = _tower(config.audio, config)
        self.video = _tower(config.video, config)
        self.fusion = config.fusion.build(
            FusionInputs(self.audio.features, AV(self.audio.rate, self.video.rate), config.width)
        )

    def forward(self, z_t: AV[Tensor], level: AV[NoiseLevel], text: AV[Tensor]) -> Logit:
        """Return the log ratio of each pair; see ``Discriminator``.

        Raises:
            UserError: A latent or a caption does not fit the configuration.
        """
        return self.fusion(*self._read(z_t, level, text))

    def pairwise_logits(
        self, z_t: AV[Tensor], level: AV[NoiseLevel], text: AV[Tensor], size: int
    ) -> Tensor:
        """Return the products of a ``CorrelationFusion``."""
        if not isinstance(self.fusion, CorrelationFusion):
            raise UserError(NO_PRODUCTS)
        return self.fusion.products.pairwise_logits(*self._read(z_t, level, text), size)

    def freeze_all_but_transformer(self) -> None:
        """Freeze all parameters but the transformer of a fusion that also has products.

        log p(x, y | c) − log p_base(x | c) p_base(y | c) is the sum of what the products model
        of the pair, and of the difference between real and generated sounds and videos, each by
        itself.
        Most wrong pairs can be classified by the timing of their events alone, and a network
        trained further with that loss forgets its other features.

        Raises:
            UserError: The fusion has no products.
        """
        if not isinstance(self.fusion, CorrelationFusion):
            raise UserError("without products the transformer alone has nothing to go on from")
        parts = (self.level, self.audio_text, self.video_text, self.audio, self.video)
        for part in (*parts, self.fusion.products):
            part.requires_grad_(False)  # noqa: FBT003

    def _read(
        self, z_t: AV[Tensor], level: AV[NoiseLevel], text: AV[Tensor]
    ) -> tuple[AV[Tensor], Vector]:
        """Return the towers' features and the embedded condition."""
        z = each(NoiseLevel.to_vp, level, z_t)
        _check_text("audio", text.audio, self.config.audio)
        _check_text("video", text.video, self.config.video)
        levels = self.level(level)
        audio_text, video_text = self.audio_text(text.audio), self.video_text(text.video)
        features = AV(
            self.audio(z.audio, level.audio, levels + audio_text),
            self.video(z.video, level.video, levels + video_text),
        )
        return features, levels + audio_text + video_text


class NoText(nn.Module):
    """Embedding of captions of width 0: zeros, without parameters."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, text: Text) -> Vector:
        """Map (b, 0) to zeros (b, width)."""
        return text.new_zeros(text.shape[0], self.width)


def text_embedding(text_width: int, width: int) -> nn.Module:
    """Build the embedding of pooled captions, (b, text_width) to (b, width)."""
    return nn.Linear(text_width, width) if text_width > 0 else NoText(width)


def _tower(latents: Latents, config: AudioVideoConfig) -> Tower:
    return Tower(
        latents,
        width=config.width,
        depth=config.depth,
        channel_mult=config.channel_mult,
        embedding=config.width,
        frugality=config.frugality,
    )


def _check_text(modality: str, text: Text, latents: Latents) -> None:
    if text.shape[1] != latents.text_width:
        raise UserError(
            f"{modality} captions of width {text.shape[1]}: this discriminator reads "
            f"{latents.text_width}"
        )
