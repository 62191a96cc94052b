"""Pairs of a text-to-audio and a text-to-video model, and the presets that are such pairs."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import Any, Final

from typing_extensions import override

from mmdisco.core.av import AV
from mmdisco.core.denoiser import IndependentModels
from mmdisco.core.noise import NoiseSchedule, linear
from mmdisco.errors import UserError
from mmdisco.generation.config import SystemConfig
from mmdisco.generation.pipeline import GuidanceOrder, JointOutsideCFG
from mmdisco.generation.presets.base_models import (
    ANIMATEDIFF,
    AUDIOLDM,
    AUDIOLDM2,
    MODELSCOPE,
    ZEROSCOPE,
    AuffusionBase,
    BaseModelSpec,
    VideoCrafter2Base,
)
from mmdisco.generation.presets.official_release import JointInsideCFG
from mmdisco.generation.presets.pretrained import (
    ClampedDiscriminator,
    DiscriminatorSpec,
    OfficialDiscriminator,
    PresetInfo,
    PretrainedSystem,
    one_sided_note,
)
from mmdisco.generation.presets.registry import CheckpointRef, Preset, expect_files, form_of
from mmdisco.generation.system import JointSystem, Requirements, SamplingDefaults
from mmdisco.media.clip import Audio, ClipSpec, Video


@dataclass(frozen=True)
class TextPreset(Preset):
    """Two models that read prompts.

    Attributes:
        title: Name of the preset.
        audio: Text-to-audio model.
        video: Text-to-video model.
        discriminator: The discriminator; None where none is published.
        usual: Default settings.
        clips: Format of the clips.
        gigabytes: Rough memory requirement.
        method: Order in which models and guidance are combined.
        released_video: Video model as the released code samples it.
    """

    title: str
    audio: BaseModelSpec[Audio]
    video: BaseModelSpec[Video]
    discriminator: DiscriminatorSpec | None
    usual: SamplingDefaults
    clips: ClipSpec
    gigabytes: float
    method: GuidanceOrder = field(default_factory=JointOutsideCFG)
    released_video: BaseModelSpec[Video] | None = None

    @property
    @override
    def name(self) -> str:
        return self.title

    @property
    def bases(self) -> tuple[CheckpointRef, ...]:
        """Checkpoints of the two models."""
        return (*self.audio.components, *self.video.components)

    @property
    @override
    def components(self) -> tuple[CheckpointRef, ...]:
        return (
            self.bases
            if self.discriminator is None
            else (*self.bases, self.discriminator.component)
        )

    @property
    @override
    def form(self) -> ClipSpec:
        return self.clips

    @property
    @override
    def memory(self) -> float:
        return self.gigabytes

    @property
    @override
    def remark(self) -> str:
        return (
            "" if self.discriminator else "no discriminator is published: --no-joint-guidance only"
        )

    @override
    def sampling(self) -> SamplingDefaults:
        return self.usual

    def as_released(self) -> "TextPreset":
        """Return the release's variant: bounded logit, joint guidance inside CFG, its noise levels.

        Raises:
            UserError: The release has no such pair.
        """
        if self.discriminator is None:
            raise UserError(f"{self.name} was not released as a pair: leave --as-released out")
        return replace(
            self,
            video=self.released_video or self.video,
            discriminator=ClampedDiscriminator(self.discriminator),
            method=JointInsideCFG(),
        )

    @override
    def pair(self, options: SystemConfig) -> JointSystem:
        facts = PresetInfo(self.name, self.bases, self.discriminator, self.usual, self.method)
        return TextSystem(facts, options, AV(self.audio, self.video), form_of(self.clips, options))


class TextSystem(PretrainedSystem):
    """System of two models that read prompts.

    Args:
        facts: Description of the preset.
        options: Options the system is built with.
        bases: Specifications of the models.
        form: Format of the clips.
    """

    def __init__(
        self,
        facts: PresetInfo,
        options: SystemConfig,
        bases: AV[BaseModelSpec[Any]],
        form: ClipSpec,
    ) -> None:
        super().__init__(facts, options)
        self._bases = bases
        self._form = form

    @property
    @override
    def prompted(self) -> bool:
        return True

    @property
    @override
    def independent(self) -> bool:
        return True

    @property
    @override
    def form(self) -> ClipSpec:
        return self._form

    def expect(self, demand: Requirements) -> list[str]:
        """Check that guidance has a discriminator, and that all files are here.

        Raises:
            UserError: There is none, or files are missing.
        """
        self._expect_files(demand)
        discriminator = self._facts.discriminator
        if discriminator is None or not (demand.guided and demand.one_sided):
            return []
        return [one_sided_note(discriminator)]

    def model(self, seeds: Sequence[int] = ()) -> IndependentModels:
        """Load both models; they draw no random numbers, so ``seeds`` has no effect."""
        return self._models

    @property
    def _schedules(self) -> AV[NoiseSchedule]:
        return self._models.schedules

    @cached_property
    def _models(self) -> IndependentModels:
        expect_files(self._facts.bases, self._options, self._facts.name)
        audio = self._bases.audio.load(self._options, self.form)
        return IndependentModels(audio, self._bases.video.load(self._options, self.form))


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
    audio=AUDIOLDM,
    video=ANIMATEDIFF,
    discriminator=OfficialDiscriminator("audioldm_animediff_vggsound", 0.1),
    usual=usual(AV(2.5, 7.5), AV(1.0, 8.0)),
    clips=TWO_SECONDS,
    gigabytes=14.0,
)
AUFFUSION_VIDEOCRAFTER2: Final = TextPreset(
    title="auffusion-videocrafter2",
    audio=AuffusionBase(),
    video=VideoCrafter2Base(),
    discriminator=OfficialDiscriminator("auffusion_videocrafter2_vggsound", 0.2),
    usual=usual(AV(8.0, 8.0), AV(1.0, 8.0)),
    clips=TWO_SECONDS,
    gigabytes=18.0,
    released_video=VideoCrafter2Base(videocrafter2_as_released),
)
AUDIOLDM2_MODELSCOPE: Final = TextPreset(
    title="audioldm2-modelscope",
    audio=AUDIOLDM2,
    video=MODELSCOPE,
    discriminator=None,
    usual=usual(AV(3.5, 9.0), AV(1.0, 1.0)),
    clips=TWO_SECONDS,
    gigabytes=16.0,
)
AUDIOLDM2_ZEROSCOPE: Final = TextPreset(
    title="audioldm2-zeroscope",
    audio=AUDIOLDM2,
    video=ZEROSCOPE,
    discriminator=None,
    usual=usual(AV(3.5, 9.0), AV(1.0, 1.0)),
    clips=THREE_WIDE_SECONDS,
    gigabytes=20.0,
)
