"""From prompts to clips: what a command, a test and a benchmark all call.

A ``GenerationRun`` is a value: models, settings and a task, where the task says which side is
given. Writes no files and shows no progress; whoever calls it walks through its steps.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mmdisco.core.av import AV
from mmdisco.core.coupling import SameTimestep
from mmdisco.core.denoiser import Conditioning, JointDenoiser, JointModel
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.guidance import ClassifierFreeGuidance, JointGuidance, JointScale
from mmdisco.core.log_ratio import GradientReuse, NoReuse
from mmdisco.core.rng import NoiseSource
from mmdisco.core.sampler import LinspaceSpacing, Sampler, TimestepSpacing
from mmdisco.core.schedulers import Solver
from mmdisco.errors import UserError
from mmdisco.media.clip import Audio, AudioVideo, Video
from mmdisco.media.read import cut_audio, cut_video

PromptGuidance = Callable[[JointDenoiser, AV[Conditioning], AV[float]], JointDenoiser]
"""A denoiser, the encoded negative prompt and w become a denoiser with classifier-free guidance."""


@dataclass(frozen=True)
class SamplerConfig:
    """How to sample.

    Attributes:
        steps: Evaluations of the bases.
        solvers: How either modality steps.
        guidance_scale: w of classifier-free guidance; 1 is off.
        joint_scale: s of the discriminator's gradient; 0 is the bases alone.
        grid: Where on the path the steps lie.
        classifier_free: How prompts guide: ``ClassifierFreeGuidance``, or its batched form.
        resamples: How often each step is taken again from latents noised back by one step.
        asking: How often the discriminator is asked.
    """

    steps: int
    solvers: AV[Solver]
    guidance_scale: AV[float]
    joint_scale: AV[JointScale]
    grid: TimestepSpacing = field(default_factory=LinspaceSpacing)
    classifier_free: PromptGuidance = ClassifierFreeGuidance
    resamples: int = 0
    asking: GradientReuse = field(default_factory=NoReuse)


class GuidanceOrder(ABC):
    """How bases, discriminator and sampler are put together."""

    @abstractmethod
    def sampler(self, model: JointModel, settings: SamplerConfig) -> Sampler:
        """The sampler of a joint run."""

    @abstractmethod
    def denoiser(
        self,
        model: JointModel,
        discriminator: Discriminator,
        settings: SamplerConfig,
        null: AV[Conditioning],
    ) -> JointDenoiser:
        """The bases with both kinds of guidance, for one run.

        ``null`` is the negative prompt, encoded.
        """


@dataclass(frozen=True)
class JointOutsideCFG(GuidanceOrder):
    """Joint guidance around classifier-free guidance, both schedules walked by their index.

    The discriminator is trained against what the guided bases make, and is run once a step.
    """

    def sampler(self, model: JointModel, settings: SamplerConfig) -> Sampler:
        """Along an ``SameTimestep``."""
        path = SameTimestep(model.schedules)
        return Sampler(path, settings.solvers, settings.steps, settings.grid, settings.resamples)

    def denoiser(
        self,
        model: JointModel,
        discriminator: Discriminator,
        settings: SamplerConfig,
        null: AV[Conditioning],
    ) -> JointDenoiser:
        """The discriminator sees the captions alone."""
        base = settings.classifier_free(model, null, settings.guidance_scale)
        return JointGuidance(base, discriminator, settings.joint_scale, settings.asking.begin())


class Task(ABC):
    """Which side is given."""

    @abstractmethod
    def sampler(self, sampler: Sampler) -> Sampler:
        """The sampler with the given side held."""

    @abstractmethod
    def begin(self, model: JointModel, z_T: AV[Tensor]) -> AV[Tensor]:
        """``z_T`` with the given side's clean latent in its place."""

    @abstractmethod
    def finish(self, model: JointModel, z_0: AV[Tensor], seconds: float) -> list[AudioVideo]:
        """Clips of clean latents; the given side is shown as it was given."""


class JointGeneration(Task):
    """Sound and picture are both made."""

    def sampler(self, sampler: Sampler) -> Sampler:
        """Unchanged."""
        return sampler

    def begin(self, model: JointModel, z_T: AV[Tensor]) -> AV[Tensor]:
        """Unchanged: noise on both sides."""
        return z_T

    def finish(self, model: JointModel, z_0: AV[Tensor], seconds: float) -> list[AudioVideo]:
        """Both decoded."""
        return _paired(model.decode_audio(z_0.audio), model.decode_video(z_0.video))


@dataclass(frozen=True)
class VideoToAudio(Task):
    """Sound is made for videos.

    Attributes:
        seen: The video of each clip as the model takes it: its rate, size and length.
        shown: The same as the result has it.
    """

    seen: Sequence[Video]
    shown: Sequence[Video]

    def sampler(self, sampler: Sampler) -> Sampler:
        """The video is held."""
        return sampler.given_video()

    def begin(self, model: JointModel, z_T: AV[Tensor]) -> AV[Tensor]:
        """The clean video beside noise."""
        return AV(z_T.audio, model.encode_video(self.seen))

    def finish(self, model: JointModel, z_0: AV[Tensor], seconds: float) -> list[AudioVideo]:
        """The sounds, each with the picture as it was given, cut to the sound's length."""
        shown = [cut_video(video, seconds) for video in self.shown]
        return _paired(model.decode_audio(z_0.audio), shown)


@dataclass(frozen=True)
class AudioToVideo(Task):
    """Video is made for sounds.

    Attributes:
        heard: The sound of each clip as the model takes it: its rate and length.
        played: The same as the result has it.
    """

    heard: Sequence[Audio]
    played: Sequence[Audio]

    def sampler(self, sampler: Sampler) -> Sampler:
        """The sound is held."""
        return sampler.given_audio()

    def begin(self, model: JointModel, z_T: AV[Tensor]) -> AV[Tensor]:
        """The clean sound beside noise."""
        return AV(model.encode_audio(self.heard), z_T.video)

    def finish(self, model: JointModel, z_0: AV[Tensor], seconds: float) -> list[AudioVideo]:
        """The videos, each with the sound as it was given, cut to the video's length."""
        played = [cut_audio(audio, seconds) for audio in self.played]
        return _paired(played, model.decode_video(z_0.video))


@dataclass(frozen=True)
class GenerationRun:
    """Everything a run needs but prompts and seeds.

    Attributes:
        model: The two bases.
        discriminator: Trained on this pair.
        settings: How to sample.
        task: Which side is given.
        seconds: Length of the clips.
        negative: The prompt that classifier-free guidance leads away from; "" for any.
        method: How they are put together.
    """

    model: JointModel
    discriminator: Discriminator
    settings: SamplerConfig
    task: Task
    seconds: float
    negative: str = ""
    method: GuidanceOrder = field(default_factory=JointOutsideCFG)

    def run(self, prompts: Sequence[str], seeds: Sequence[int]) -> Iterator[AV[Tensor]]:
        """Sample latents, a batch of one clip per prompt.

        Args:
            prompts: One a clip; "" asks for nothing in particular.
            seeds: One a clip. A clip depends on its own prompt and seed alone.

        Yields:
            The latents after each step; the last ones are clean.

        Raises:
            UserError: The settings cannot be run.
        """
        if len(prompts) != len(seeds):
            raise UserError(f"{len(prompts)} prompts and {len(seeds)} seeds: give one seed a clip")
        noise = NoiseSource.from_seeds(seeds)
        shapes = self.model.latent_shapes(self.seconds)
        z_T = self.sampler.initial(noise, shapes.map(lambda one: torch.Size([len(seeds), *one])))
        cond = self.model.encode_prompts(prompts)
        return self.sampler.run(self.denoiser(), self.task.begin(self.model, z_T), cond, noise)

    @property
    def sampler(self) -> Sampler:
        """The sampler of the settings for the task."""
        return self.task.sampler(self.method.sampler(self.model, self.settings))

    def denoiser(self) -> JointDenoiser:
        """The bases with both kinds of guidance."""
        null = self.model.encode_prompts([self.negative])
        return self.method.denoiser(self.model, self.discriminator, self.settings, null)

    def clips(self, z_0: AV[Tensor]) -> list[AudioVideo]:
        """Clips of the last latents of ``run``."""
        return self.task.finish(self.model, z_0, self.seconds)


def guided_base(model: JointModel, guidance_scale: AV[float]) -> JointDenoiser:
    """The bases with classifier-free guidance, as fakes are made and joint guidance is trained."""
    return ClassifierFreeGuidance(model, model.encode_prompts([""]), guidance_scale)


def generate(
    generation: GenerationRun, prompts: Sequence[str], seeds: Sequence[int]
) -> list[AudioVideo]:
    """Clips of ``prompts``, all in one batch."""
    return generation.clips(deque(generation.run(prompts, seeds), maxlen=1).pop())


def _paired(sounds: Sequence[Audio], videos: Sequence[Video]) -> list[AudioVideo]:
    return [AudioVideo(sound, video) for sound, video in zip(sounds, videos, strict=True)]
