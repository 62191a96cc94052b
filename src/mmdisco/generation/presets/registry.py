"""All presets by name."""

from fractions import Fraction
from typing import Final

from mmdisco.core.av import AV
from mmdisco.core.noise import NoiseSchedule, linear
from mmdisco.errors import UserError
from mmdisco.generation.presets.base import Preset
from mmdisco.generation.presets.base_models import (
    AnimateDiffBase,
    AudioLDM2Base,
    AudioLDMBase,
    AuffusionBase,
    TextToVideoBase,
    VideoCrafter2Base,
)
from mmdisco.generation.presets.discriminators import OfficialDiscriminator
from mmdisco.generation.presets.miniature import MiniaturePreset
from mmdisco.generation.presets.mmdiffusion import MMDiffusionPreset
from mmdisco.generation.presets.text_pairs import TextPreset
from mmdisco.generation.system import SamplingDefaults
from mmdisco.media.conditioning_clip import ClipSpec

DEFAULT: Final = "embedded"

TWO_SECONDS: Final = ClipSpec(Fraction(2), Fraction(8), (256, 256), 16_000)
THREE_WIDE_SECONDS: Final = ClipSpec(Fraction(3), Fraction(8), (320, 576), 16_000)


def usual(guidance: AV[float], joint: AV[float]) -> SamplingDefaults:
    """Return the release's 50 steps of DDPM with the given scales."""
    return SamplingDefaults(50, "ddpm", guidance, joint, joint.audio, joint.video)


def videocrafter2_as_released() -> NoiseSchedule:
    """Return β linear in t, which is not how VideoCrafter2 was trained."""
    return linear(1000, 0.00085, 0.012)


AUDIOLDM_ANIMATEDIFF: Final = TextPreset(
    title="audioldm-animatediff",
    audio=AudioLDMBase(),
    video=AnimateDiffBase(),
    judge=OfficialDiscriminator("audioldm_animediff_vggsound", 0.1),
    usual=usual(AV(2.5, 7.5), AV(1.0, 8.0)),
    clips=TWO_SECONDS,
    gigabytes=14.0,
)
AUFFUSION_VIDEOCRAFTER2: Final = TextPreset(
    title="auffusion-videocrafter2",
    audio=AuffusionBase(),
    video=VideoCrafter2Base(),
    judge=OfficialDiscriminator("auffusion_videocrafter2_vggsound", 0.2),
    usual=usual(AV(8.0, 8.0), AV(1.0, 8.0)),
    clips=TWO_SECONDS,
    gigabytes=18.0,
    released_video=VideoCrafter2Base(videocrafter2_as_released),
)
AUDIOLDM2_MODELSCOPE: Final = TextPreset(
    title="audioldm2-modelscope",
    audio=AudioLDM2Base(),
    video=TextToVideoBase("ali-vilab/text-to-video-ms-1.7b"),
    judge=None,
    usual=usual(AV(3.5, 9.0), AV(1.0, 1.0)),
    clips=TWO_SECONDS,
    gigabytes=16.0,
)
AUDIOLDM2_ZEROSCOPE: Final = TextPreset(
    title="audioldm2-zeroscope",
    audio=AudioLDM2Base(),
    video=TextToVideoBase("cerspense/zeroscope_v2_576w"),
    judge=None,
    usual=usual(AV(3.5, 9.0), AV(1.0, 1.0)),
    clips=THREE_WIDE_SECONDS,
    gigabytes=20.0,
)
MMDIFFUSION_ON_LANDSCAPE: Final = MMDiffusionPreset(
    title="mmdiffusion-landscape",
    file="landscape.pt",
    upscaler_file="Landscape_SR.pt",
    judge=OfficialDiscriminator("mmdiffusion_landscape", 0.1),
)
MMDIFFUSION_ON_AIST: Final = MMDiffusionPreset(
    title="mmdiffusion-aist",
    file="AIST++.pt",
    upscaler_file="AIST++_SR.pt",
    judge=OfficialDiscriminator("mmdiffusion_aist++", 0.1),
)

PRESETS: Final[dict[str, Preset]] = {
    one.name: one
    for one in (
        MiniaturePreset(),
        AUDIOLDM_ANIMATEDIFF,
        AUFFUSION_VIDEOCRAFTER2,
        MMDIFFUSION_ON_LANDSCAPE,
        MMDIFFUSION_ON_AIST,
        AUDIOLDM2_MODELSCOPE,
        AUDIOLDM2_ZEROSCOPE,
    )
}
"""Presets by name, in the order of listings."""


def preset(name: str) -> Preset:
    """Look up a preset by name.

    Raises:
        UserError: There is none of that name.
    """
    if name not in PRESETS:
        raise UserError(f"unknown preset {name!r}: choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
