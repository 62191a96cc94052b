"""Discriminators: networks that return a log density ratio and nothing else."""

from mmdisco.discriminator.audio_video import AudioVideoConfig, AudioVideoDiscriminator
from mmdisco.discriminator.base import Discriminator
from mmdisco.discriminator.convolutions import (
    FlatLatents,
    SpectrogramLatents,
    VideoLatents,
    WaveformLatents,
)
from mmdisco.discriminator.fusion import AdditiveFusionConfig, TimeFusionConfig
from mmdisco.discriminator.products import ProductFusionConfig
from mmdisco.discriminator.vector import VectorConfig, VectorDiscriminator

__all__ = [
    "AdditiveFusionConfig",
    "AudioVideoConfig",
    "AudioVideoDiscriminator",
    "Discriminator",
    "FlatLatents",
    "ProductFusionConfig",
    "SpectrogramLatents",
    "TimeFusionConfig",
    "VectorConfig",
    "VectorDiscriminator",
    "VideoLatents",
    "WaveformLatents",
]
