"""Architecture of a discriminator for the latents it reads."""

import math
from typing import Any, Final

import torch

from mmdisco.core.av import AV
from mmdisco.discriminators.convolutions import (
    FlatLatents,
    SpectrogramLatents,
    VideoLatents,
    WaveformLatents,
)
from mmdisco.discriminators.correlation import CorrelationFusionConfig
from mmdisco.discriminators.fusion import (
    AdditiveFusionConfig,
    FusionConfig,
    PooledFusionConfig,
    TimeFusionConfig,
)
from mmdisco.discriminators.towers import Frugality
from mmdisco.discriminators.two_tower import AudioVideoConfig
from mmdisco.errors import UserError
from mmdisco.training.config import DiscriminatorConfig

SMALL: Final = 1024  # values per step up to which a step is read as one vector
LARGE: Final = 2**15  # positions of a video from which memory decides
SAMPLES: Final = 1000.0  # steps per second from which latents are waveform samples


def build_discriminator_config(
    config: DiscriminatorConfig, latents: AV[torch.Size], texts: AV[int], rates: AV[float]
) -> AudioVideoConfig:
    """Build the configuration of a discriminator.

    Args:
        config: Requested architecture; what is null follows from the latents.
        latents: Shapes of one sample, without the batch: (c, l), (c, l, m) and (c, f, h, w).
        texts: Width of the pooled caption embedding of each modality.
        rates: Steps of either latent per second.

    Raises:
        UserError: The latents are of no known kind, or a size is out of its range.
    """
    audio, video = latents.audio, latents.video
    if len(audio) not in (2, 3) or len(video) != 4:
        raise UserError(
            f"latents of {tuple(audio)} and {tuple(video)}: no discriminator reads such"
        )
    small = _is_small(audio) and _is_small(video) and all(side % 2 == 0 for side in video[2:])
    if small and len(audio) == 3:
        audio_latents = FlatLatents(audio[0], rates.audio, texts.audio, tuple(audio[2:]))
        video_latents = FlatLatents(video[0], rates.video, texts.video, tuple(video[2:]))
        usual = {"depth": 1, "channel_mult": (1,), "d_model": 128, "num_layers": 3}
    else:
        audio_latents = _audio_latents(audio, rates.audio, texts.audio)
        video_latents = VideoLatents(video[0], rates.video, texts.video)
        usual = {"depth": 4, "channel_mult": (1, 2, 4), "d_model": 256, "num_layers": 4}
    size: dict[str, Any] = usual | config.model_dump(exclude_none=True)
    transformer = {name: size[name] for name in ("d_model", "num_layers", "num_heads")}
    fusions: dict[str, FusionConfig] = {
        "additive": AdditiveFusionConfig(),
        "attention": TimeFusionConfig(**transformer),
        "attention+correlation": CorrelationFusionConfig(**transformer),
        "pooled": PooledFusionConfig(size["d_model"]),
    }
    return AudioVideoConfig(
        audio=audio_latents,
        video=video_latents,
        width=config.width,
        depth=size["depth"],
        channel_mult=size["channel_mult"],
        fusion=fusions[config.fusion],
        frugality=_frugality(config, video),
    )


def _frugality(config: DiscriminatorConfig, video: torch.Size) -> Frugality:
    large = math.prod(video[1:]) > LARGE
    wishes = (config.bfloat16, config.gradient_checkpointing)
    return Frugality(*(large if wish is None else wish for wish in wishes))


def _audio_latents(
    shape: torch.Size, rate: float, text: int
) -> SpectrogramLatents | WaveformLatents:
    if len(shape) == 3:
        return SpectrogramLatents(shape[0], rate, text)
    return WaveformLatents(shape[0], rate, text, time_pool=4 if rate > SAMPLES else 1)


def _is_small(shape: torch.Size) -> bool:
    return shape[0] * math.prod(shape[2:]) <= SMALL
