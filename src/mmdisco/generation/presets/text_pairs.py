"""Pairs of a text-to-sound and a text-to-video model."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

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
        title: Its name.
        audio: The model of sound.
        video: The model of video.
        judge: Its discriminator; None where none is published.
        usual: The settings to begin with.
        clips: What it makes.
        gigabytes: Rough need of memory.
        method: How they are put together.
        released_video: The model of video as the released code samples it.
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
    def name(self) -> str:
        """``title``."""
        return self.title

    @property
    def bases(self) -> tuple[CheckpointRef, ...]:
        """The checkpoints of the two models."""
        return (*self.audio.components, *self.video.components)

    @property
    def components(self) -> tuple[CheckpointRef, ...]:
        """Those of the bases, and the discriminator's if there is one."""
        return self.bases if self.judge is None else (*self.bases, self.judge.component)

    @property
    def form(self) -> ClipSpec:
        """``clips``."""
        return self.clips

    @property
    def memory(self) -> float:
        """``gigabytes``."""
        return self.gigabytes

    @property
    def remark(self) -> str:
        """Whether a discriminator is missing."""
        return "" if self.judge else "no discriminator is published: --no-joint-guidance only"

    def sampling(self) -> SamplingDefaults:
        """``usual``."""
        return self.usual

    def as_released(self) -> "TextPreset":
        """Bounded logit, joint guidance inside classifier-free guidance, the release's levels.

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

    def pair(self, options: BuildOptions) -> JointSystem:
        """Nothing is loaded yet."""
        for base in (self.audio, self.video):
            base.expect(options)
        facts = PresetInfo(self.name, self.bases, self.judge, self.usual, self.method)
        return TextSystem(facts, options, AV(self.audio, self.video), form_of(self.clips, options))


class TextSystem(PretrainedSystem):
    """Two models that read prompts.

    Args:
        facts: As of ``PretrainedSystem``.
        options: How they are built.
        bases: The models, to be loaded.
        form: The clips they make.
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
    def prompted(self) -> bool:
        """Both read prompts."""
        return True

    @property
    def independent(self) -> bool:
        """They are two models."""
        return True

    @property
    def form(self) -> ClipSpec:
        """What the options ask for."""
        return self._form

    def expect(self, demand: Requirements) -> list[str]:
        """Refuse guidance where nothing guides, and name every missing file.

        Raises:
            UserError: Either is the case.
        """
        self._expect_files(demand)
        judge = self._facts.judge
        if judge is None or not (demand.guided and demand.one_sided):
            return []
        return [one_sided_note(judge)]

    def model(self, seeds: Sequence[int] = ()) -> IndependentModels:
        """Both models; they draw no random numbers."""
        return self._models

    @property
    def _schedules(self) -> AV[NoiseSchedule]:
        return self._models.schedules

    @cached_property
    def _models(self) -> IndependentModels:
        expect_files(self._facts.bases, self._options, self._facts.name)
        audio = self._bases.audio.load(self._options, self.form)
        return IndependentModels(audio, self._bases.video.load(self._options, self.form))
