"""Shapes of the two networks of MM-Diffusion, as ``config.json`` keeps them. Knows no network."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mmdisco.io.bounds import check_sizes

SAMPLE_RATE = 16_000
FPS = 10


@dataclass(frozen=True)
class UNetLevel:
    """One resolution of the joint U-Net.

    Attributes:
        channels: Of both modalities.
        window: Frames that a frame of the other modality sees in cross-attention; 0 without it.
        video_attention: Whether video attends to itself, in space and in time.
        audio_attention: Whether audio attends to itself.
    """

    channels: int
    window: int = 0
    video_attention: bool = False
    audio_attention: bool = False

    def __post_init__(self) -> None:
        check_sizes(self)


@dataclass(frozen=True)
class JointConfig:
    """The joint U-Net of sound and video (Ruan et al. 2023, arXiv:2212.09478).

    Attributes:
        width: Of the embedding of the time.
        levels: From the finest to the coarsest; each halves height and width of the one before and
            quarters its sound.
        depth: Residual blocks a level on the way down; one more on the way up.
        crosses_middle: Whether all of one modality sees all of the other at the coarsest level.
        head_channels: Of a head of cross-attention.
        frames: Of a clip.
        side: Height and width of a frame, in pixels.
        samples: Of a clip's sound.
    """

    width: int
    levels: tuple[UNetLevel, ...]
    depth: int
    crosses_middle: bool
    head_channels: int
    frames: int
    side: int
    samples: int

    def __post_init__(self) -> None:
        check_sizes(self)

    def to_record(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return asdict(self)

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> "JointConfig":
        """The inverse of ``to_record``."""
        fields = dict(record)
        fields["levels"] = tuple(UNetLevel(**level) for level in record["levels"])
        return JointConfig(**fields)


@dataclass(frozen=True)
class UpscalerConfig:
    """The U-Net that enlarges frames (Dhariwal & Nichol 2021, Section 4, by MM-Diffusion).

    Attributes:
        levels: Channels of each, from the finest to the coarsest; each halves the one before.
        attention: Whether each level attends to itself.
        depth: Residual blocks a level on the way down; one more on the way up.
        heads: Of the attention.
        side: Height and width of an enlarged frame, in pixels.
    """

    levels: tuple[int, ...]
    attention: tuple[bool, ...]
    depth: int
    heads: int
    side: int

    def __post_init__(self) -> None:
        check_sizes(self)

    def to_record(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return asdict(self)

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> "UpscalerConfig":
        """The inverse of ``to_record``."""
        fields = dict(record)
        fields["levels"] = tuple(record["levels"])
        fields["attention"] = tuple(record["attention"])
        return UpscalerConfig(**fields)


JOINT = JointConfig(
    width=128,
    levels=(
        UNetLevel(128),
        UNetLevel(256, window=1, video_attention=True),
        UNetLevel(384, window=4, video_attention=True),
        UNetLevel(512, window=8, video_attention=True),
    ),
    depth=2,
    crosses_middle=True,
    head_channels=64,
    frames=16,
    side=64,
    samples=25_600,
)
"""The published networks ``AIST++.pt`` and ``landscape.pt``: 1.6 s at 10 frames a second."""

UPSCALER = UpscalerConfig(
    levels=(192, 192, 384, 384, 768, 768),
    attention=(False, False, False, True, True, True),
    depth=2,
    heads=4,
    side=256,
)
"""The published network that takes frames of 64 × 64 to 256 × 256."""
