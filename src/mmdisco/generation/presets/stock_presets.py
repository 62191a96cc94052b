"""Presets that are two pipelines of diffusers by their ids, with the settings they begin with."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from typing_extensions import override

from mmdisco.adapters import components
from mmdisco.adapters.components import ComponentFiles
from mmdisco.core.av import AV
from mmdisco.errors import UserError
from mmdisco.generation.config import SystemConfig
from mmdisco.generation.presets.registry import CheckpointRef, Preset
from mmdisco.generation.presets.stock_pair import StockSystem
from mmdisco.generation.system import JointSystem, SamplingDefaults
from mmdisco.media.clip import ClipSpec


@dataclass(frozen=True)
class StockPreset(Preset):
    """Two pipelines; nobody has published a discriminator for them.

    Attributes:
        title: Name of the preset.
        refs: Checkpoints of the pipelines.
        usual: Default settings.
        clips: Format of the clips.
    """

    title: str
    refs: AV[CheckpointRef]
    usual: SamplingDefaults
    clips: ClipSpec

    @property
    @override
    def name(self) -> str:
        return self.title

    @property
    @override
    def components(self) -> tuple[CheckpointRef, ...]:
        return (self.refs.audio, self.refs.video)

    @property
    @override
    def form(self) -> ClipSpec:
        return self.clips

    @property
    def memory(self) -> float:
        """Weights alone, in single precision; ``generate --dry-run`` counts the rest."""
        return float(round(self.refs.audio.gigabytes + self.refs.video.gigabytes))

    @property
    @override
    def remark(self) -> str:
        return "no discriminator is published: --discriminator, or --no-joint-guidance"

    @override
    def sampling(self) -> SamplingDefaults:
        return self.usual

    def as_released(self) -> "StockPreset":
        """Refuse.

        Raises:
            UserError: Always.
        """
        raise UserError(f"{self.name} was not released as a pair: leave --as-released out")

    @override
    def pair(self, options: SystemConfig) -> JointSystem:
        return StockSystem(self.name, options, self.refs, self.usual, self.clips)


def _ref(
    role: str,
    source: str,
    parts: tuple[ComponentFiles, ...],
    gigabytes: float,
    licence: str,
) -> CheckpointRef:
    return CheckpointRef(role, source, parts, gigabytes, licence, folder=source)


def _usual(audio: float, video: float) -> SamplingDefaults:
    """Return 50 steps with the scales of either pipeline's own call."""
    return SamplingDefaults(50, "ddim", AV(audio, video), AV(1.0, 1.0), 1.0, 1.0)


def _clips(frames: int, fps: int, size: tuple[int, int], sample_rate: int) -> ClipSpec:
    return ClipSpec(Fraction(frames, fps), Fraction(fps), size, sample_rate)


_STABLE_AUDIO: Final = _ref(
    "audio",
    "stabilityai/stable-audio-open-1.0",
    components.STABLE_AUDIO,
    5.3,
    "Stability AI Community",
)
# distilled: the pipeline's own call is without guidance, in 8 steps
_STABLE_AUDIO3: Final = _ref(
    "audio",
    "stabilityai/stable-audio-3-medium",
    components.STABLE_AUDIO3,
    7.4,
    "Stability AI Community, Gemma",
)
_AUDIOLDM2: Final = _ref(
    "audio",
    "cvssp/audioldm2",
    (
        components.pipeline_index(),
        *components.AUDIOLDM2,
        ComponentFiles("feature_extractor", ("preprocessor_config.json",)),
    ),
    4.3,
    "CC BY-NC-SA 4.0",
)

_WAN22: Final = _ref(
    "video",
    "Wan-AI/Wan2.2-TI2V-5B-Diffusers",
    components.TEXT_TO_VIDEO,
    45.5,
    "Apache 2.0",
)
_HUNYUANVIDEO15: Final = _ref(
    "video",
    "hunyuanvideo-community/HunyuanVideo-1.5-Diffusers-480p_t2v",
    components.HUNYUANVIDEO15,
    67.5,
    "Tencent Hunyuan Community",
)
_WAN22_CLIPS: Final = _clips(121, 24, (704, 1280), 44_100)
_HUNYUANVIDEO15_CLIPS: Final = _clips(121, 24, (480, 848), 44_100)

STABLEAUDIO3_WAN22: Final = StockPreset(
    "stableaudio3-wan22", AV(_STABLE_AUDIO3, _WAN22), _usual(1.0, 5.0), _WAN22_CLIPS
)
STABLEAUDIO3_HUNYUANVIDEO15: Final = StockPreset(
    "stableaudio3-hunyuanvideo15",
    AV(_STABLE_AUDIO3, _HUNYUANVIDEO15),
    _usual(1.0, 6.0),
    _HUNYUANVIDEO15_CLIPS,
)
STABLEAUDIO_WAN22: Final = StockPreset(
    "stableaudio-wan22", AV(_STABLE_AUDIO, _WAN22), _usual(7.0, 5.0), _WAN22_CLIPS
)
STABLEAUDIO_WAN21: Final = StockPreset(
    "stableaudio-wan21",
    AV(
        _STABLE_AUDIO,
        _ref(
            "video",
            "Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
            components.TEXT_TO_VIDEO,
            28.9,
            "Apache 2.0",
        ),
    ),
    _usual(7.0, 5.0),
    _clips(81, 16, (480, 832), 44_100),
)
STABLEAUDIO_HUNYUANVIDEO15: Final = StockPreset(
    "stableaudio-hunyuanvideo15",
    AV(_STABLE_AUDIO, _HUNYUANVIDEO15),
    _usual(7.0, 6.0),
    _HUNYUANVIDEO15_CLIPS,
)
AUDIOLDM2_COGVIDEOX: Final = StockPreset(
    "audioldm2-cogvideox",
    AV(
        _AUDIOLDM2,
        _ref("video", "zai-org/CogVideoX-2b", components.TEXT_TO_VIDEO, 26.7, "Apache 2.0"),
    ),
    _usual(3.5, 6.0),
    _clips(49, 8, (480, 720), 16_000),
)
