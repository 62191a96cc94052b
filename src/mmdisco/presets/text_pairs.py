"""Pairs of a text-to-sound and a text-to-video model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from mmdisco.discriminator.base import Discriminator
from mmdisco.discriminator.wrappers import Placed
from mmdisco.errors import UserError
from mmdisco.media.clip import Audio, Video
from mmdisco.media.given import Form
from mmdisco.models import ModelPair
from mmdisco.pair import Demand, Pair, Sampling
from mmdisco.pipeline import AroundPrompts, Method
from mmdisco.presets.base import Component, Preset, expect_files, form_of
from mmdisco.presets.bases import Base
from mmdisco.presets.judges import Clamped, Judge, told_of_one_side
from mmdisco.presets.methods import InsidePrompts
from mmdisco.presets.options import Options
from mmdisco.released.alongside import NoisedAlong
from mmdisco.sampling.alongside import Alongside


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
        return TextPair(self, options)


class TextPair(Pair):
    """The models of a preset, loaded at the first use and kept.

    Args:
        preset: Which models.
        options: How they are built.
    """

    def __init__(self, preset: TextPreset, options: Options) -> None:
        self._preset = preset
        self._options = options

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
        return form_of(self._preset.form, self._options)

    @property
    def method(self) -> Method:
        """That of the preset."""
        return self._preset.method

    def sampling(self) -> Sampling:
        """That of the preset."""
        return self._preset.sampling()

    def expect(self, demand: Demand) -> list[str]:
        """Refuse guidance where nothing guides, and name every missing file.

        Raises:
            UserError: Either is the case.
        """
        preset = self._preset
        if demand.guided and preset.judge is None:
            raise UserError(
                f"{preset.name} has no published discriminator: give --no-guidance for the two "
                "models alone"
            )
        wanted = preset.components if demand.guided else preset.bases
        expect_files(wanted, self._options, preset.name)
        if preset.judge is None or not (demand.guided and demand.one_sided):
            return []
        return [told_of_one_side(preset.judge)]

    def model(self, seeds: Sequence[int] = ()) -> ModelPair:
        """Both models; they draw no random numbers."""
        return self._bases

    def discriminator(self) -> Discriminator:
        """On the device of the models.

        Raises:
            UserError: There is none, or its file is missing or damaged.
        """
        return self._judge

    def marks(self) -> Mapping[str, str]:
        """Of every component that is here."""
        return {
            component.role: component.mark(self._options)
            for component in self._preset.components
            if component.present(self._options)
        }

    @cached_property
    def _bases(self) -> ModelPair:
        expect_files(self._preset.bases, self._options, self._preset.name)
        audio = self._preset.audio.load(self._options, self.form)
        return ModelPair(audio, self._preset.video.load(self._options, self.form))

    @cached_property
    def _judge(self) -> Discriminator:
        judge = self._preset.judge
        if judge is None:
            raise UserError(f"{self._preset.name} has no published discriminator")
        expect_files((judge.component,), self._options, self._preset.name)
        network = Placed(judge.load(self._options), self._options.torch_device())
        return NoisedAlong(network, Alongside(self._bases.schedules))
