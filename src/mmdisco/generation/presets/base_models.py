"""Base models of presets: their checkpoints, and how each is loaded."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic

from typing_extensions import override

from mmdisco.adapters import components
from mmdisco.core.denoiser import BaseModel, Medium
from mmdisco.core.noise import NoiseSchedule
from mmdisco.generation.config import SystemConfig
from mmdisco.generation.presets.base import CheckpointRef, runtime_of
from mmdisco.media.clip import Audio, ClipSpec, Video

if TYPE_CHECKING:
    from mmdisco.adapters.video_vae import VideoSpec


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
class AudioLDMBase(BaseModelSpec[Audio]):
    """AudioLDM (``cvssp/audioldm-m-full``)."""

    @property
    @override
    def components(self) -> tuple[CheckpointRef, ...]:
        parts = components.audioldm()
        return (_hub("sound", "cvssp/audioldm-m-full", parts, 2.6, "CC BY-NC-SA 4.0"),)

    def load(self, options: SystemConfig, form: ClipSpec) -> BaseModel[Audio]:
        """Load the model, which makes any multiple of 0.04 s."""
        from mmdisco.adapters.audioldm import AudioLDM

        (source,) = _sources(self, options)
        return AudioLDM.from_pretrained(source, options.torch_dtype, runtime_of(options))


@dataclass(frozen=True)
class AudioLDM2Base(BaseModelSpec[Audio]):
    """AudioLDM2 (``cvssp/audioldm2``)."""

    @property
    @override
    def components(self) -> tuple[CheckpointRef, ...]:
        return (_hub("sound", "cvssp/audioldm2", components.audioldm2(), 4.4, "CC BY-NC-SA 4.0"),)

    def load(self, options: SystemConfig, form: ClipSpec) -> BaseModel[Audio]:
        """Load the model, which makes any multiple of 0.04 s."""
        from mmdisco.adapters.audioldm2 import AudioLDM2

        (source,) = _sources(self, options)
        return AudioLDM2.from_pretrained(source, options.torch_dtype, runtime_of(options))


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
class AnimateDiffBase(BaseModelSpec[Video]):
    """AnimateDiff around Realistic Vision."""

    @property
    def components(self) -> tuple[CheckpointRef, ...]:
        """Checkpoints of the image model and the motion adapter."""
        images, motion = components.image_model(), (components.motion_adapter(),)
        realistic = "SG161222/Realistic_Vision_V5.1_noVAE"
        adapter = "guoyww/animatediff-motion-adapter-v1-5-2"
        return (
            _hub("video", realistic, images, 4.3, "CreativeML Open RAIL-M"),
            _hub("motion", adapter, motion, 1.8, "none stated"),
        )

    def load(self, options: SystemConfig, form: ClipSpec) -> BaseModel[Video]:
        """Load the model, which makes up to 32 frames."""
        from mmdisco.adapters.animatediff import AnimateDiff

        source, motion = _sources(self, options)
        dtype, runtime = options.torch_dtype, runtime_of(options)
        return AnimateDiff.from_pretrained(source, motion, _picture(form), dtype, runtime)


@dataclass(frozen=True)
class TextToVideoBase(BaseModelSpec[Video]):
    """ModelScope's model and others of its architecture.

    Attributes:
        source: Id on the hub.
    """

    source: str

    @property
    @override
    def components(self) -> tuple[CheckpointRef, ...]:
        return (_hub("video", self.source, components.image_model(), 7.3, "CC BY-NC 4.0"),)

    def load(self, options: SystemConfig, form: ClipSpec) -> BaseModel[Video]:
        """Load the model, which makes any number of frames."""
        from mmdisco.adapters.text_to_video import TextToVideoSD

        (source,) = _sources(self, options)
        dtype, runtime = options.torch_dtype, runtime_of(options)
        return TextToVideoSD.from_pretrained(source, _picture(form), dtype, runtime)


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


def _sources(base: BaseModelSpec[Medium], options: SystemConfig) -> list[Path]:
    return [component.find(options).folder for component in base.components]


def _picture(form: ClipSpec) -> "VideoSpec":
    from mmdisco.adapters.video_vae import VideoSpec

    return VideoSpec(*form.size, fps=form.fps)
