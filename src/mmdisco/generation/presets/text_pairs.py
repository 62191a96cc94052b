"""Pairs of a text-to-sound and a text-to-video model."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from mmdisco.core.av import AV
from mmdisco.core.denoiser import ModelPair
from mmdisco.core.noise import NoiseSchedule
from mmdisco.errors import UserError
from mmdisco.generation.pipeline import AroundPrompts, Method
from mmdisco.generation.presets.base import Component, Preset, expect_files, form_of
from mmdisco.generation.presets.base_models import Base
from mmdisco.generation.presets.discriminators import Clamped, Judge, told_of_one_side
from mmdisco.generation.presets.official_release import InsidePrompts
from mmdisco.generation.presets.options import Options
from mmdisco.generation.presets.pretrained import Facts, PublishedPair
from mmdisco.generation.system import Demand, Pair, Sampling
from mmdisco.media.clip import Audio, Video
from mmdisco.media.conditioning_clip import Form


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
    audio: Base[Audio]
    video: Base[Video]
    judge: Judge | None
    usual: Sampling
    clips: Form
    gigabytes: float
    method: Method = field(default_factory=AroundPrompts)
    released_video: Base[Video] | None = None

    @property
    def name(self) -> str:
        """``title``."""
        return self.title

    @property
    def bases(self) -> tuple[Component, ...]:
        """The checkpoints of the two models."""
        return (*self.audio.components, *self.video.components)

    @property
    def components(self) -> tuple[Component, ...]:
        """Those of the bases, and the discriminator's if there is one."""
        return self.bases if self.judge is None else (*self.bases, self.judge.component)

    @property
    def form(self) -> Form:
        """``clips``."""
        return self.clips

    @property
    def memory(self) -> float:
        """``gigabytes``."""
        return self.gigabytes

    @property
    def remark(self) -> str:
        """Whether a discriminator is missing."""
        return "" if self.judge else "no discriminator is published: --no-guidance only"

    def sampling(self) -> Sampling:
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
            judge=Clamped(self.judge),
            method=InsidePrompts(),
        )

    def pair(self, options: Options) -> Pair:
        """Nothing is loaded yet."""
        for base in (self.audio, self.video):
            base.expect(options)
        facts = Facts(self.name, self.bases, self.judge, self.usual, self.method)
        return TextPair(facts, options, AV(self.audio, self.video), form_of(self.clips, options))


class TextPair(PublishedPair):
    """Two models that read prompts.

    Args:
        facts: As of ``PublishedPair``.
        options: How they are built.
        bases: The models, to be loaded.
        form: The clips they make.
    """

    def __init__(self, facts: Facts, options: Options, bases: AV[Base[Any]], form: Form) -> None:
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
    def form(self) -> Form:
        """What the options ask for."""
        return self._form

    def expect(self, demand: Demand) -> list[str]:
        """Refuse guidance where nothing guides, and name every missing file.

        Raises:
            UserError: Either is the case.
        """
        self._expect_files(demand)
        judge = self._facts.judge
        if judge is None or not (demand.guided and demand.one_sided):
            return []
        return [told_of_one_side(judge)]

    def model(self, seeds: Sequence[int] = ()) -> ModelPair:
        """Both models; they draw no random numbers."""
        return self._models

    @property
    def _schedules(self) -> AV[NoiseSchedule]:
        return self._models.schedules

    @cached_property
    def _models(self) -> ModelPair:
        expect_files(self._facts.bases, self._options, self._facts.name)
        audio = self._bases.audio.load(self._options, self.form)
        return ModelPair(audio, self._bases.video.load(self._options, self.form))
