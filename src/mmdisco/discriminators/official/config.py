"""The shape of a released discriminator, and the four shapes that are published.

Configurations are stored as JSON: nested dataclasses, each with the name of its kind, and classes
of layers by name alone.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mmdisco.discriminators.official.attention import GROUPS
from mmdisco.discriminators.official.blocks import (
    InputNorm,
    ModulatedInputNorm,
    Modulation,
    NoInputNorm,
    ScaleAndShift,
    ShiftBefore,
)
from mmdisco.discriminators.official.fusion import (
    ChannelFusionConfig,
    ClassToken,
    MeanFusionConfig,
    MeanOfTokens,
    OfficialFusionConfig,
    SequenceFusionConfig,
    TransformerConfig,
)
from mmdisco.discriminators.official.latents import OfficialVideo, Spectrogram, Waveform
from mmdisco.errors import UserError
from mmdisco.io.bounds import check_sizes


def to_record(config: Any, kinds: Mapping[str, type]) -> Any:
    """Convert ``config`` to JSON's types.

    Args:
        config: A dataclass of ``kinds``, nested in others, tuples, numbers and classes.
        kinds: The name of every class that occurs.
    """
    if isinstance(config, type):
        (kind,) = (name for name, one in kinds.items() if config is one)
        return {"kind": kind}
    if isinstance(config, tuple):
        return [to_record(value, kinds) for value in config]
    if not dataclasses.is_dataclass(config):
        return config
    (kind,) = (name for name, one in kinds.items() if type(config) is one)
    fields = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    return {"kind": kind, **{name: to_record(value, kinds) for name, value in fields.items()}}


def from_record(record: Any, kinds: Mapping[str, type]) -> Any:
    """Invert ``to_record``.

    Raises:
        UserError: A kind is unknown, or the fields are not those of its kind.
    """
    if isinstance(record, list):
        return tuple(from_record(value, kinds) for value in record)
    if not isinstance(record, dict):
        return record
    fields = {name: from_record(value, kinds) for name, value in record.items() if name != "kind"}
    kind = kinds.get(str(record.get("kind")))
    if kind is None:
        raise _refusal(f"a part of kind {str(record.get('kind'))[:40]}")
    if not dataclasses.is_dataclass(kind) and not fields:
        return kind
    try:
        return kind(**fields)
    except (AttributeError, TypeError) as error:
        raise _refusal(" ".join(str(error).split())[:120]) from error


def _refusal(reason: str) -> UserError:
    return UserError(
        f"no configuration of a released discriminator ({reason}): convert the published file again"
    )


_KINDS: Final[dict[str, type]] = {
    "spectrogram": Spectrogram,
    "waveform": Waveform,
    "video": OfficialVideo,
    "mean": MeanFusionConfig,
    "sequence": SequenceFusionConfig,
    "channels": ChannelFusionConfig,
    "transformer": TransformerConfig,
    "class token": ClassToken,
    "mean of tokens": MeanOfTokens,
    "no input norm": NoInputNorm,
    "modulated input norm": ModulatedInputNorm,
    "scale and shift": ScaleAndShift,
    "shift before the norm": ShiftBefore,
}


@dataclass(frozen=True)
class OfficialConfig:
    """Shape of a ``ReleasedDiscriminator``.

    Attributes:
        audio: The sound's latents.
        video: The video's latents.
        fusion: Fusion of the features of both into one vector.
        width: Channels of a tower's first level; a multiple of 32, as the groups of the norms are.
        depth: Residual blocks per level.
        channel_mult: Channels of each level, in units of ``width``; a fraction of a channel is
            dropped, and the result must be a multiple of 32.
        embedding: Width of the embedding of noise level and caption; even, at least 4.
        dilations: The dilation of the audio's k-th residual block, counted from 1, is
            2^(k mod ``dilations``).
        input_norm: Norm before the first convolution of either tower.
        cross_attention: The levels, counted from 0, after each of whose blocks the towers attend to
            one another.
        heads: Heads of the attention within a tower.
        head_width: Channels per head of the attention between the towers.
        modulation: Modulation of the norms by the embedding.
    """

    audio: Spectrogram | Waveform
    video: OfficialVideo
    fusion: OfficialFusionConfig
    width: int = 128
    depth: int = 4
    channel_mult: tuple[int | float, ...] = (1, 2, 4)
    embedding: int = 128
    dilations: int = 1
    input_norm: type[InputNorm] = NoInputNorm
    cross_attention: tuple[int, ...] = ()
    heads: int = 4
    head_width: int = 64
    modulation: type[Modulation] = ScaleAndShift

    def __post_init__(self) -> None:
        check_sizes(self)
        if not self.channel_mult or not all(0 < one < math.inf for one in self.channel_mult):
            raise UserError(
                f"discriminator channel_mult {self.channel_mult}: give one or more, each above 0"
            )
        if self.width % GROUPS != 0:
            raise UserError(f"discriminator width {self.width}: give a multiple of {GROUPS}")
        if any(channels % GROUPS != 0 or channels < 1 for channels in self.channels):
            raise UserError(
                f"discriminator channel_mult {self.channel_mult}: they make levels of "
                f"{self.channels} channels; give such as make multiples of {GROUPS}"
            )
        if self.embedding % 2 != 0 or self.embedding < 4:
            raise UserError(
                f"discriminator embedding {self.embedding}: give an even number, at least 4"
            )
        within = self._channels_at(self.audio.attention + self.video.attention)
        if any(channels % self.heads for channels in within):
            raise UserError(f"discriminator heads {self.heads}: give a divisor of {within}")
        between = self._channels_at(self.cross_attention)
        if any(channels % self.head_width for channels in between):
            width = self.head_width
            raise UserError(f"discriminator head_width {width}: give a divisor of {between}")

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(int(self.width * multiplier) for multiplier in self.channel_mult)

    def _channels_at(self, levels: tuple[int, ...]) -> list[int]:
        last = len(self.channel_mult) - 1
        if any(not 0 <= level <= last for level in levels):
            raise UserError(f"attention at levels {levels}: give levels from 0 to {last}")
        return [self.channels[level] for level in levels]

    def to_record(self) -> dict[str, Any]:
        """Return the configuration in JSON's types."""
        return to_record(self, _ALL_KINDS)

    @staticmethod
    def from_record(record: Any) -> "OfficialConfig":
        """Invert ``to_record``.

        Args:
            record: What a JSON file holds, of any type.

        Raises:
            UserError: The record describes no such configuration.
        """
        config = from_record(record, _ALL_KINDS)
        if not isinstance(config, OfficialConfig):
            raise UserError(
                "a part of the configuration of a released discriminator: give the whole of it"
            )
        return config


_ALL_KINDS: Final[dict[str, type]] = {"released discriminator": OfficialConfig, **_KINDS}


AUDIOLDM_ANIMATEDIFF_VGGSOUND: Final = OfficialConfig(
    audio=Spectrogram(channels=8, text_width=512),
    video=OfficialVideo(channels=4, text_width=768),
    fusion=MeanFusionConfig(),
)
"""AudioLDM with AnimateDiff, VGGSound: 33,261,313 weights.

Sound (b, 8, l, 16) at 25 steps per second; video (b, 4, f, h/8, w/8). Captions: CLAP's vector,
and the mean of the 77 vectors of CLIP.
"""

AUFFUSION_VIDEOCRAFTER2_VGGSOUND: Final = OfficialConfig(
    audio=Spectrogram(channels=4, text_width=768),
    video=OfficialVideo(channels=4, text_width=1024),
    fusion=SequenceFusionConfig(
        TransformerConfig(width=256, layers=5, features=256, readout=ClassToken)
    ),
)
"""Auffusion with VideoCrafter2, VGGSound: 38,972,161 weights.

Sound (b, 4, l, 32) at 12.5 steps per second; video (b, 4, f, h/8, w/8). Captions: the means of
the 77 vectors of Auffusion's adapter and of OpenCLIP. Video frames and audio steps together at
most 126.
"""

MMDIFFUSION_AIST: Final = OfficialConfig(
    audio=Waveform(channels=1),
    video=OfficialVideo(channels=3),
    fusion=MeanFusionConfig(),
    depth=2,
    dilations=10,
)
"""MM-Diffusion, AIST++: 12,682,241 weights.

Samples (b, 1, l) at 16 kHz; pixels (b, 3, f, 64, 64) in [-1, 1] at 10 frames per second. No
captions.
"""

MMDIFFUSION_LANDSCAPE: Final = MMDIFFUSION_AIST
"""MM-Diffusion, Landscape: the same shape as for AIST++, with weights of its own."""

PUBLISHED: Final[dict[str, OfficialConfig]] = {
    "audioldm_animediff_vggsound": AUDIOLDM_ANIMATEDIFF_VGGSOUND,
    "auffusion_videocrafter2_vggsound": AUFFUSION_VIDEOCRAFTER2_VGGSOUND,
    "mmdiffusion_aist++": MMDIFFUSION_AIST,
    "mmdiffusion_landscape": MMDIFFUSION_LANDSCAPE,
}
"""The published shapes by the release's own names."""
