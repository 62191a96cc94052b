"""Base models of presets: their checkpoints, and how each is loaded."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic

from typing_extensions import override

from mmdisco.adapters import components
from mmdisco.core.denoiser import BaseModel, Medium
from mmdisco.core.noise import NoiseSchedule
from mmdisco.generation.config import SystemConfig
from mmdisco.generation.presets.registry import CheckpointRef, runtime_of
from mmdisco.media.clip import Audio, ClipSpec, Video

if TYPE_CHECKING:
    from mmdisco.adapters.videocrafter2.codec import VideoSpec


class BaseModelSpec(ABC, Generic[Medium]):
    """Specification of a base model; its libraries are imported when it is loaded."""

    @property
    @abstractmethod
    def components(self) -> tuple[CheckpointRef, ...]:
        """Checkpoints of the model."""

    @abstractmethod
    def load(self, options: SystemConfig, form: ClipSpec) -> BaseModel[Medium]:
        """Load the model with its weights.

        Raises:
            UserError: Files are missing or damaged, or the clip format cannot be made.
        """


@dataclass(frozen=True)
class StockAudioBase(BaseModelSpec[Audio]):
    """An audio pipeline of diffusers.

    Attributes:
        pipeline: Name of its class.
        refs: Its checkpoints.
    """

    pipeline: str
    refs: tuple[CheckpointRef, ...]

    @property
    @override
    def components(self) -> tuple[CheckpointRef, ...]:
        return self.refs

    @override
    def load(self, options: SystemConfig, form: ClipSpec) -> BaseModel[Audio]:
        from mmdisco.adapters.stock.pretrained import unguided_audio

        return unguided_audio(_load_pipeline(self.pipeline, self.refs, options))


@dataclass(frozen=True)
class StockVideoBase(BaseModelSpec[Video]):
    """A video pipeline of diffusers.

    Attributes:
        pipeline: Name of its class.
        refs: Its checkpoints.
    """

    pipeline: str
    refs: tuple[CheckpointRef, ...]

    @property
    @override
    def components(self) -> tuple[CheckpointRef, ...]:
        return self.refs

    @override
    def load(self, options: SystemConfig, form: ClipSpec) -> BaseModel[Video]:
        from mmdisco.adapters.stock.pretrained import unguided_video

        pipe = _load_pipeline(self.pipeline, self.refs, options)
        return unguided_video(pipe, form.size, form.fps)


@dataclass(frozen=True)
class AuffusionBase(BaseModelSpec[Audio]):
    """Auffusion (``auffusion/auffusion-full``)."""

    @property
    @override
    def components(self) -> tuple[CheckpointRef, ...]:
        parts = components.AUFFUSION
        return (_hub("sound", "auffusion/auffusion-full", parts, 4.3, "see its page"),)

    def load(self, options: SystemConfig, form: ClipSpec) -> BaseModel[Audio]:
        """Load the model, which makes up to 10.24 s."""
        from mmdisco.adapters.auffusion.model import Auffusion

        (source,) = _sources(self, options)
        return Auffusion.from_pretrained(source, options.torch_dtype, runtime_of(options))


@dataclass(frozen=True)
class VideoCrafter2Base(BaseModelSpec[Video]):
    """VideoCrafter2.

    Attributes:
        levels: Noise schedule that replaces the one of training; only to reproduce what was sampled
            with it.
    """

    levels: Callable[[], NoiseSchedule] | None = None

    @property
    def components(self) -> tuple[CheckpointRef, ...]:
        """Checkpoints of the model and of CLIP's tokenizer."""
        words = "openai/clip-vit-large-patch14"
        networks, home = (components.VIDEOCRAFTER2,), "VideoCrafter/VideoCrafter2"
        return (
            _hub("video", home, networks, 7.4, "see its page"),
            _hub("words", words, (components.CLIP_TOKENIZER,), 0.0, "see its page"),
        )

    def load(self, options: SystemConfig, form: ClipSpec) -> BaseModel[Video]:
        """Load the model, which makes any number of frames with sides that are multiples of 64."""
        from mmdisco.adapters.videocrafter2.model import VideoCrafter2

        source, words = _sources(self, options)
        dtype, runtime, picture = options.torch_dtype, runtime_of(options), _picture(form)
        model = VideoCrafter2.from_pretrained(source, words, picture, dtype, runtime)
        if self.levels is None:
            return model
        return VideoCrafter2(model.parts, picture, runtime, self.levels())


def _hub(
    role: str,
    source: str,
    parts: tuple[components.ComponentFiles, ...],
    gigabytes: float,
    licence: str,
) -> CheckpointRef:
    return CheckpointRef(role, source, parts, gigabytes, licence, folder=source)


def _load_pipeline(kind: str, refs: tuple[CheckpointRef, ...], options: SystemConfig) -> Any:
    from mmdisco.adapters.stock.pretrained import load_pipeline

    sources = [(ref.find(options), ref.parts) for ref in refs]
    return load_pipeline(kind, sources, runtime_of(options))


def _sources(base: BaseModelSpec[Medium], options: SystemConfig) -> list[Path]:
    return [component.find(options).folder for component in base.components]


def _picture(form: ClipSpec) -> "VideoSpec":
    from mmdisco.adapters.videocrafter2.codec import VideoSpec

    return VideoSpec(*form.size, fps=form.fps)


def _text_to_video(source: str) -> StockVideoBase:
    refs = (_hub("video", source, components.IMAGE_MODEL, 7.3, "CC BY-NC 4.0"),)
    return StockVideoBase("TextToVideoSDPipeline", refs)


AUDIOLDM: Final = StockAudioBase(
    "AudioLDMPipeline",
    (_hub("sound", "cvssp/audioldm-m-full", components.AUDIOLDM, 2.6, "CC BY-NC-SA 4.0"),),
)
AUDIOLDM2: Final = StockAudioBase(
    "AudioLDM2Pipeline",
    (_hub("sound", "cvssp/audioldm2", components.AUDIOLDM2, 4.3, "CC BY-NC-SA 4.0"),),
)
ANIMATEDIFF: Final = StockVideoBase(
    "AnimateDiffPipeline",
    (
        _hub(
            "video",
            "SG161222/Realistic_Vision_V5.1_noVAE",
            components.IMAGE_MODEL,
            4.3,
            "CreativeML Open RAIL-M",
        ),
        _hub(
            "motion",
            "guoyww/animatediff-motion-adapter-v1-5-2",
            (components.MOTION_ADAPTER,),
            1.8,
            "none stated",
        ),
    ),
)
MODELSCOPE: Final = _text_to_video("ali-vilab/text-to-video-ms-1.7b")
ZEROSCOPE: Final = _text_to_video("cerspense/zeroscope_v2_576w")
