"""Pairs of a text-to-audio and a text-to-video model."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from typing_extensions import override

from mmdisco.core.av import AV
from mmdisco.core.denoiser import IndependentModels
from mmdisco.core.noise import NoiseSchedule
from mmdisco.errors import UserError
from mmdisco.generation.pipeline import GuidanceOrder, JointOutsideCFG
from mmdisco.generation.presets.base import CheckpointRef, Preset, expect_files, form_of
from mmdisco.generation.presets.base_models import BaseModelSpec
from mmdisco.generation.presets.discriminators import (
    ClampedDiscriminator,
    DiscriminatorSpec,
    one_sided_note,
)
from mmdisco.generation.presets.official_release import JointInsideCFG
from mmdisco.generation.presets.options import BuildOptions
from mmdisco.generation.presets.pretrained import PresetInfo, PretrainedSystem
from mmdisco.generation.system import JointSystem, Requirements, SamplingDefaults
from mmdisco.media.clip import Audio, Video
from mmdisco.media.conditioning_clip import ClipSpec


@dataclass(frozen=True)
class TextPreset(Preset):
    """Two models that read prompts.

    Attributes:
        title: Name of the preset.
        audio: Text-to-audio model.
        video: Text-to-video model.
        judge: The discriminator; None where none is published.
        usual: Default settings.
        clips: Format of the clips.
        gigabytes: Rough memory requirement.
        method: Order in which models and guidance are combined.
        released_video: Video model as the released code samples it.
    """

    title: str
    audio: BaseModelSpec[Audio]
    video: BaseModelSpec[Video]
    judge: DiscriminatorSpec | None
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
        return self.bases if self.judge is None else (*self.bases, self.judge.component)

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
        return "" if self.judge else "no discriminator is published: --no-joint-guidance only"

    @override
    def sampling(self) -> SamplingDefaults:
        return self.usual

    def as_released(self) -> "TextPreset":
        """Return the release's variant: bounded logit, joint guidance inside CFG, its noise levels.

        Raises:
            UserError: The release has no such pair.
        """
        if self.judge is None:
            raise UserError(f"{self.name} was not released as a pair: leave --as-released out")
        return replace(
            self,
            video=self.released_video or self.video,
            judge=ClampedDiscriminator(self.judge),
            method=JointInsideCFG(),
        )

    @override
    def pair(self, options: BuildOptions) -> JointSystem:
        facts = PresetInfo(self.name, self.bases, self.judge, self.usual, self.method)
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
        options: BuildOptions,
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
        judge = self._facts.judge
        if judge is None or not (demand.guided and demand.one_sided):
            return []
        return [one_sided_note(judge)]

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
