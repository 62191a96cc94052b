"""Shapes of MM-Diffusion's two networks, as stored in ``config.json``. Knows no network."""

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
        channels: Channels of both modalities.
        window: Frames per window of the cross-attention; 0 without it.
        video_attention: Whether video has self-attention, in space and in time.
        audio_attention: Whether audio has self-attention.
    """

    channels: int
    window: int = 0
    video_attention: bool = False
    audio_attention: bool = False

    def __post_init__(self) -> None:
        check_sizes(self)


@dataclass(frozen=True)
class JointConfig:
    """Shape of the joint U-Net of sound and video (Ruan et al. 2023, arXiv:2212.09478).

    Attributes:
        width: Width of the embedding of the time.
        levels: Levels from the finest to the coarsest; each halves height and width of the one
            before and quarters its sound.
        depth: Residual blocks per level on the way down; one more on the way up.
        crosses_middle: Whether the coarsest level has cross-attention without windows.
        head_channels: Channels per head of cross-attention.
        frames: Frames of a clip.
        side: Height and width of a frame, in pixels.
        samples: Samples of a clip's sound.
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
        """Return the configuration in JSON's types."""
        return asdict(self)

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> "JointConfig":
        """Invert ``to_record``."""
        fields = dict(record)
        fields["levels"] = tuple(UNetLevel(**level) for level in record["levels"])
        return JointConfig(**fields)


@dataclass(frozen=True)
class UpscalerConfig:
    """Shape of the super-resolution U-Net (Dhariwal & Nichol 2021, Section 4, by MM-Diffusion).

    Attributes:
        levels: Channels of each level, from the finest to the coarsest; each halves the one before.
        attention: Whether each level has self-attention.
        depth: Residual blocks per level on the way down; one more on the way up.
        heads: Heads of the attention.
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
        """Return the configuration in JSON's types."""
        return asdict(self)

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> "UpscalerConfig":
        """Invert ``to_record``."""
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
"""Published networks ``AIST++.pt`` and ``landscape.pt``: 1.6 s at 10 frames per second."""

UPSCALER = UpscalerConfig(
    levels=(192, 192, 384, 384, 768, 768),
    attention=(False, False, False, True, True, True),
    depth=2,
    heads=4,
    side=256,
)
"""Published network that takes frames of 64 × 64 to 256 × 256."""
