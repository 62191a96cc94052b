"""From prompts to clips: what a command, a test and a benchmark all call.

A ``Generation`` is a value: models, settings and a task, where the task says which side is given.
Writes no files and shows no progress; whoever calls it walks through its steps.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mmdisco.av import AV
from mmdisco.discriminator.base import Discriminator
from mmdisco.errors import UserError
from mmdisco.guidance import ClassifierFree, JointGuidance, JointScale
from mmdisco.media.clip import Audio, AudioVideo, Video
from mmdisco.media.fitting import cut_audio, cut_video
from mmdisco.models import JointDenoiser, JointModel
from mmdisco.path import IndexPath
from mmdisco.sampling import NoiseSource, Sampler, UniformTime
from mmdisco.sampling.grid import Grid
from mmdisco.sampling.solvers import Solver


@dataclass(frozen=True)
class Settings:
    """How to sample.

    Attributes:
        steps: Evaluations of the bases.
        solvers: How either modality steps.
        guidance_scale: w of classifier-free guidance; 1 is off.
        joint_scale: s of the discriminator's gradient; 0 is the bases alone.
        grid: Where on the path the steps lie.
    """

    steps: int
    solvers: AV[Solver]
    guidance_scale: AV[float]
    joint_scale: AV[JointScale]
    grid: Grid = field(default_factory=UniformTime)


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


class Jointly(Task):
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
class SoundFor(Task):
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
class VideoFor(Task):
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
class Generation:
    """Everything a run needs but prompts and seeds.

    Attributes:
        model: The two bases.
        discriminator: Trained on this pair.
        settings: How to sample.
        task: Which side is given.
        seconds: Length of the clips.
    """

    model: JointModel
    discriminator: Discriminator
    settings: Settings
    task: Task
    seconds: float

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
        path = IndexPath(self.model.schedules)
        free = Sampler(path, self.settings.solvers, self.settings.steps, self.settings.grid)
        return self.task.sampler(free)

    def denoiser(self) -> JointDenoiser:
        """The bases with both kinds of guidance.

        Joint guidance goes around classifier-free guidance: the discriminator is trained against
        what the guided bases make, and is run once a step.
        """
        base = guided_base(self.model, self.settings.guidance_scale)
        return JointGuidance(base, self.discriminator, self.settings.joint_scale)

    def clips(self, z_0: AV[Tensor]) -> list[AudioVideo]:
        """Clips of the last latents of ``run``."""
        return self.task.finish(self.model, z_0, self.seconds)


def guided_base(model: JointModel, guidance_scale: AV[float]) -> JointDenoiser:
    """The bases with classifier-free guidance, as fakes are made and joint guidance is trained."""
    return ClassifierFree(model, model.encode_prompts([""]), guidance_scale)


def generate(
    generation: Generation, prompts: Sequence[str], seeds: Sequence[int]
) -> list[AudioVideo]:
    """Clips of ``prompts``, all in one batch."""
    return generation.clips(deque(generation.run(prompts, seeds), maxlen=1).pop())


def _paired(sounds: Sequence[Audio], videos: Sequence[Video]) -> list[AudioVideo]:
    return [AudioVideo(sound, video) for sound, video in zip(sounds, videos, strict=True)]
