"""Architecture of a discriminator for the latents it reads."""

import math
from typing import Final

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
from mmdisco.discriminators.two_tower import AudioVideoConfig
from mmdisco.errors import UserError
from mmdisco.training.config import DiscriminatorConfig

SMALL: Final = 512  # values per step up to which a step is read as one vector
SAMPLES: Final = 1000.0  # steps per second from which latents are waveform samples


def build_discriminator_config(
    shape: DiscriminatorConfig, latents: AV[torch.Size], texts: AV[int], seconds: float
) -> AudioVideoConfig:
    """Build the configuration of a discriminator.

    Args:
        shape: Requested architecture.
        latents: Shapes of one sample, without the batch: (c, l), (c, l, m) and (c, f, h, w).
        texts: Width of the pooled caption embedding of each modality.
        seconds: Length of a clip.

    Raises:
        UserError: The latents are of no known kind, or a size is out of its range.
    """
    audio, video = latents.audio, latents.video
    if len(audio) not in (2, 3) or len(video) != 4:
        raise UserError(
            f"latents of {tuple(audio)} and {tuple(video)}: no discriminator reads such"
        )
    small = _is_small(audio) and _is_small(video) and all(side % 2 == 0 for side in video[2:])
    rates = latents.map(lambda one: one[1] / seconds)
    if small and len(audio) == 3:
        heard = FlatLatents(audio[0], rates.audio, texts.audio, tuple(audio[2:]))
        seen = FlatLatents(video[0], rates.video, texts.video, tuple(video[2:]))
        usual = (1, (1,), 128, 3)
    else:
        heard = _sound(audio, rates.audio, texts.audio)
        seen = VideoLatents(video[0], rates.video, texts.video)
        usual = (4, (1, 2, 4), 256, 4)
    depth, multipliers, tokens, layers = usual
    sizes = {
        "width": tokens if shape.tokens is None else shape.tokens,
        "layers": layers if shape.layers is None else shape.layers,
        "heads": shape.heads,
    }
    fusions: dict[str, FusionConfig] = {
        "additive": AdditiveFusionConfig(),
        "time": TimeFusionConfig(**sizes),
        "products": CorrelationFusionConfig(**sizes),
        "pooled": PooledFusionConfig(sizes["width"]),
    }
    return AudioVideoConfig(
        audio=heard,
        video=seen,
        width=shape.width,
        depth=depth if shape.depth is None else shape.depth,
        multipliers=multipliers if shape.multipliers is None else shape.multipliers,
        fusion=fusions[shape.interaction],
    )


def _sound(shape: torch.Size, rate: float, text: int) -> SpectrogramLatents | WaveformLatents:
    if len(shape) == 3:
        return SpectrogramLatents(shape[0], rate, text)
    return WaveformLatents(shape[0], rate, text, time_pool=4 if rate > SAMPLES else 1)


def _is_small(shape: torch.Size) -> bool:
    return shape[0] * math.prod(shape[2:]) <= SMALL
