"""The discriminators that the authors of MMDisCo published: their networks, shapes and weights."""

from mmdisco.released.alongside import NoisedAlong
from mmdisco.released.checkpoint import convert, load, load_checkpoint
from mmdisco.released.clamp import ClampedLogit
from mmdisco.released.config import (
    AUDIOLDM_ANIMATEDIFF_VGGSOUND,
    AUFFUSION_VIDEOCRAFTER2_VGGSOUND,
    MMDIFFUSION_AIST,
    MMDIFFUSION_LANDSCAPE,
    PUBLISHED,
    ReleasedConfig,
)
from mmdisco.released.network import ReleasedDiscriminator

__all__ = [
    "AUDIOLDM_ANIMATEDIFF_VGGSOUND",
    "AUFFUSION_VIDEOCRAFTER2_VGGSOUND",
    "MMDIFFUSION_AIST",
    "MMDIFFUSION_LANDSCAPE",
    "PUBLISHED",
    "ClampedLogit",
    "NoisedAlong",
    "ReleasedConfig",
    "ReleasedDiscriminator",
    "convert",
    "load",
    "load_checkpoint",
]
