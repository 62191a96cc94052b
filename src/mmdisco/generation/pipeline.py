"""Pipeline from prompts to clips, shared by the command line, tests and benchmarks.

A ``GenerationRun`` is a value: models, settings and a task, where the task defines which modality
is given. Writes no files and shows no progress; the caller iterates over its steps.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from typing_extensions import override

from mmdisco.core.av import AV
from mmdisco.core.coupling import SameTimestep
from mmdisco.core.denoiser import Conditioning, JointDenoiser, JointModel
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.guidance import ClassifierFreeGuidance, JointGuidance, JointScale
from mmdisco.core.log_ratio import ReuseEvery
from mmdisco.core.noise import NoiseLevel
from mmdisco.core.rng import NoiseSource
from mmdisco.core.sampler import LinspaceSpacing, Sampler, TimestepSpacing
from mmdisco.core.schedulers import Solver
from mmdisco.errors import UserError
from mmdisco.media.clip import Audio, AudioVideo, Video, cut_audio, cut_video

if TYPE_CHECKING:
    from mmdisco.generation.particles import SequentialMonteCarlo

PromptGuidance = Callable[[JointDenoiser, AV[Conditioning], AV[float]], JointDenoiser]
"""Adds classifier-free guidance to a denoiser, from the encoded negative prompt and w."""


@dataclass(frozen=True)
class SamplerConfig:
    """Settings of a sampling run.

    Attributes:
        steps: Evaluations of the base models.
        solvers: Solver of each modality.
        cfg_scale: Scale w of classifier-free guidance; 1 is off.
        joint_scale: Scale s of the discriminator's gradient; 0 is the unguided baseline.
        grid: Spacing of the steps along the path of noise levels.
        classifier_free: Adds classifier-free guidance to a denoiser.
        resamples: Number of times that each step is repeated from latents noised back by one step.
        reuse: Policy that decides at which evaluations the discriminator is run.
        smc: Resampling of the candidates of each clip on the way, if there is any.

    Raises:
        UserError: Gradients are to be reused by candidates that were resampled since.
    """

    steps: int
    solvers: AV[Solver]
    cfg_scale: AV[float]
    joint_scale: AV[JointScale]
    grid: TimestepSpacing = field(default_factory=LinspaceSpacing)
    classifier_free: PromptGuidance = ClassifierFreeGuidance
    resamples: int = 0
    reuse: ReuseEvery = field(default_factory=ReuseEvery)
    smc: "SequentialMonteCarlo | None" = None

    def __post_init__(self) -> None:
        if self.smc is not None and self.reuse.every > 1:
            raise UserError(
                "a gradient that is reused belongs to candidates that may be gone: compute it at "
                "every step, or resample none"
            )


class GuidanceOrder(ABC):
    """Order in which base models, discriminator and sampler are combined."""

    @abstractmethod
    def sampler(self, model: JointModel, settings: SamplerConfig) -> Sampler:
        """Build the sampler of a joint run."""

    def base(
        self,
        model: JointModel,
        null: AV[Conditioning],
        cfg_scale: AV[float],
        classifier_free: PromptGuidance = ClassifierFreeGuidance,
    ) -> JointDenoiser:
        """Add classifier-free guidance to the base models, as for fake pairs and for training."""
        return classifier_free(model, null, cfg_scale)

    @abstractmethod
    def denoiser(
        self,
        model: JointModel,
        discriminator: Discriminator,
        settings: SamplerConfig,
        null: AV[Conditioning],
    ) -> JointDenoiser:
        """Build the denoiser of a run: the base models with both kinds of guidance.

        ``null`` is the encoded negative prompt.
        """

    def ranking(self, discriminator: Discriminator) -> Discriminator:
        """Return the discriminator that ranks whole clips: the one that guides them."""
        return discriminator


@dataclass(frozen=True)
class JointOutsideCFG(GuidanceOrder):
    """Joint guidance around classifier-free guidance, both schedules traversed by index.

    The discriminator is trained against samples of the guided base models, and is run once a step.
    """

    def path(self, model: JointModel) -> SameTimestep:
        """Return the levels that the steps traverse."""
        return SameTimestep(model.schedules)

    def sampler(self, model: JointModel, settings: SamplerConfig) -> Sampler:
        """Build a sampler along the path."""
        path = self.path(model)
        return Sampler(path, settings.solvers, settings.steps, settings.grid, settings.resamples)

    def denoiser(
        self,
        model: JointModel,
        discriminator: Discriminator,
        settings: SamplerConfig,
        null: AV[Conditioning],
    ) -> JointDenoiser:
        """Wrap the guided base models; the discriminator reads the captions only."""
        base = self.base(model, null, settings.cfg_scale, settings.classifier_free)
        return JointGuidance(base, discriminator, settings.joint_scale, settings.reuse.begin())


class Task(ABC):
    """Generation task: which modality is given, if any."""

    @abstractmethod
    def sampler(self, sampler: Sampler) -> Sampler:
        """Wrap the sampler so that it holds the given modality."""

    @abstractmethod
    def begin(self, model: JointModel, z_T: AV[Tensor]) -> AV[Tensor]:
        """Replace the given modality's noise in ``z_T`` by its clean latent."""

    def remark(self, model: JointModel) -> str:
        """Say that the model keeps little of the given modality; "" where it keeps enough."""
        return ""

    @abstractmethod
    def take(self, rows: Sequence[int]) -> "Task":
        """Return the task of some samples of the batch."""

    @abstractmethod
    def finish(self, model: JointModel, z_0: AV[Tensor], seconds: float) -> list[AudioVideo]:
        """Decode clean latents to clips; a given modality is shown as it was given."""


class JointGeneration(Task):
    """Generation of both sound and video."""

    @override
    def sampler(self, sampler: Sampler) -> Sampler:
        return sampler

    def begin(self, model: JointModel, z_T: AV[Tensor]) -> AV[Tensor]:
        """Return ``z_T``: both modalities start from noise."""
        return z_T

    @override
    def take(self, rows: Sequence[int]) -> Task:
        return self

    def finish(self, model: JointModel, z_0: AV[Tensor], seconds: float) -> list[AudioVideo]:
        """Decode both modalities."""
        return _paired(model.decode_audio(z_0.audio), model.decode_video(z_0.video))


@dataclass(frozen=True)
class VideoToAudio(Task):
    """Generation of sound for videos.

    Attributes:
        seen: Video of each clip at the model's rate, size and length.
        shown: The same video as the result shows it.
    """

    seen: Sequence[Video]
    shown: Sequence[Video]

    def sampler(self, sampler: Sampler) -> Sampler:
        """Hold the video."""
        return sampler.given_video()

    def begin(self, model: JointModel, z_T: AV[Tensor]) -> AV[Tensor]:
        """Place the clean video latent beside the noise of the sound."""
        return AV(z_T.audio, model.encode_video(self.seen))

    @override
    def remark(self, model: JointModel) -> str:
        from mmdisco.media.reconstruction import PictureReconstruction, picture_remark

        with torch.no_grad():
            (decoded,) = model.decode_video(model.encode_video(self.seen[:1]))
        return picture_remark(PictureReconstruction.of(self.seen[0], decoded).variance)

    @override
    def take(self, rows: Sequence[int]) -> Task:
        return VideoToAudio([self.seen[row] for row in rows], [self.shown[row] for row in rows])

    def finish(self, model: JointModel, z_0: AV[Tensor], seconds: float) -> list[AudioVideo]:
        """Decode the sounds, each with the video as it was given, cut to the sound's length."""
        shown = [cut_video(video, seconds) for video in self.shown]
        return _paired(model.decode_audio(z_0.audio), shown)


@dataclass(frozen=True)
class AudioToVideo(Task):
    """Generation of video for sounds.

    Attributes:
        heard: Sound of each clip at the model's rate and length.
        played: The same sound as the result plays it.
    """

    heard: Sequence[Audio]
    played: Sequence[Audio]

    def sampler(self, sampler: Sampler) -> Sampler:
        """Hold the sound."""
        return sampler.given_audio()

    def begin(self, model: JointModel, z_T: AV[Tensor]) -> AV[Tensor]:
        """Place the clean sound latent beside the noise of the video."""
        return AV(model.encode_audio(self.heard), z_T.video)

    @override
    def remark(self, model: JointModel) -> str:
        from mmdisco.media.reconstruction import SoundReconstruction, sound_remark

        with torch.no_grad():
            (decoded,) = model.decode_audio(model.encode_audio(self.heard[:1]))
        return sound_remark(SoundReconstruction.of(self.heard[0], decoded).mel_distance)

    @override
    def take(self, rows: Sequence[int]) -> Task:
        return AudioToVideo([self.heard[row] for row in rows], [self.played[row] for row in rows])

    def finish(self, model: JointModel, z_0: AV[Tensor], seconds: float) -> list[AudioVideo]:
        """Decode the videos, each with the sound as it was given, cut to the video's length."""
        played = [cut_audio(audio, seconds) for audio in self.played]
        return _paired(played, model.decode_video(z_0.video))


@dataclass(frozen=True)
class GenerationRun:
    """Everything a run needs except prompts and seeds.

    Attributes:
        model: The two base models.
        discriminator: Discriminator trained on this pair of models.
        settings: Settings of sampling.
        task: Generation task.
        seconds: Length of the clips.
        negative: Prompt of either side that classifier-free guidance leads away from; "" is
            unconditional.
        method: Order in which models and guidance are combined.
    """

    model: JointModel
    discriminator: Discriminator
    settings: SamplerConfig
    task: Task
    seconds: float
    negative: AV[str] = field(default_factory=lambda: AV("", ""))
    method: GuidanceOrder = field(default_factory=JointOutsideCFG)

    def run(
        self, prompts: Sequence[str] | AV[Sequence[str]], seeds: Sequence[int]
    ) -> Generator[AV[Tensor], AV[Tensor] | None]:
        """Sample latents, a batch of one clip per prompt.

        Args:
            prompts: One prompt per clip, or one for either side; "" asks for nothing in particular.
            seeds: One seed per clip. A clip depends on its own prompt and seed only.

        Yields:
            The latents after each step; the last ones are clean. Latents that are sent in answer
            replace them.

        Raises:
            UserError: The settings cannot be run.
        """
        each_side = _of_both(prompts)
        for given in (each_side.audio, each_side.video):
            if len(given) != len(seeds):
                raise UserError(f"{len(given)} prompts and {len(seeds)} seeds: give one a clip")
        noise = NoiseSource.from_seeds(seeds)
        shapes = self.model.latent_shapes(self.seconds)
        z_T = self.sampler.initial(noise, shapes.map(lambda one: torch.Size([len(seeds), *one])))
        cond = encode_captions(self.model, each_side)
        resampling = None
        if self.settings.smc is not None:
            ranking = self.method.ranking(self.discriminator)
            resampling = self.settings.smc.begin(ranking, cond.map(lambda one: one.pooled), seeds)
        z_T = self.task.begin(self.model, z_T)
        return self.sampler.run(self.denoiser(), z_T, cond, noise, resampling)

    @property
    def sampler(self) -> Sampler:
        """Build the sampler of the settings for the task."""
        return self.task.sampler(self.method.sampler(self.model, self.settings))

    def denoiser(self) -> JointDenoiser:
        """Build the base models with both kinds of guidance."""
        null = encode_captions(self.model, self.negative.map(lambda one: [one]))
        return self.method.denoiser(self.model, self.discriminator, self.settings, null)

    def logits(self, prompts: Sequence[str] | AV[Sequence[str]], z_0: AV[Tensor]) -> Tensor:
        """Compute the discriminator's logit of clean latents, (b,): how well the sides agree."""
        clean = NoiseLevel.clean(len(z_0.audio))
        text = encode_captions(self.model, _of_both(prompts)).map(lambda one: one.pooled)
        with torch.no_grad():
            return self.method.ranking(self.discriminator)(z_0, AV(clean, clean), text)

    def best(
        self,
        prompts: Sequence[str] | AV[Sequence[str]],
        z_0: AV[Tensor],
        candidates: int,
    ) -> tuple["GenerationRun", AV[Tensor], Tensor]:
        """Keep of the candidates of each clip the one with the largest logit.

        Args:
            prompts: As in ``run``.
            z_0: Final latents of ``run``, the candidates of a clip side by side.
            candidates: Number of candidates of each clip.

        Returns:
            The run of the clips that are kept, their latents, and all logits, (clips, candidates).
        """
        logits = self.logits(prompts, z_0).unflatten(0, (-1, candidates))
        rows = [clip * candidates + int(row) for clip, row in enumerate(logits.argmax(1))]
        run = replace(self, task=self.task.take(rows))
        return run, z_0.map(lambda one: one[rows]), logits

    def clips(self, z_0: AV[Tensor]) -> list[AudioVideo]:
        """Decode the final latents of ``run``."""
        return self.task.finish(self.model, z_0, self.seconds)


def encode_captions(model: JointModel, captions: AV[Sequence[str]]) -> AV[Conditioning]:
    """Encode the captions of either side."""
    video = model.encode_prompts(captions.video)
    if captions.audio == captions.video:
        return video
    return AV(model.encode_prompts(captions.audio).audio, video.video)


def guided_base(model: JointModel, cfg_scale: AV[float], method: GuidanceOrder) -> JointDenoiser:
    """Add classifier-free guidance to the base models, as for fake pairs and for training."""
    return method.base(model, model.encode_prompts([""]), cfg_scale)


def generate(
    generation: GenerationRun,
    prompts: Sequence[str] | AV[Sequence[str]],
    seeds: Sequence[int],
) -> list[AudioVideo]:
    """Generate one clip per prompt, all in one batch."""
    return generation.clips(deque(generation.run(prompts, seeds), maxlen=1).pop())


def _of_both(prompts: Sequence[str] | AV[Sequence[str]]) -> AV[Sequence[str]]:
    return prompts if isinstance(prompts, AV) else AV(prompts, prompts)


def _paired(sounds: Sequence[Audio], videos: Sequence[Video]) -> list[AudioVideo]:
    return [AudioVideo(sound, video) for sound, video in zip(sounds, videos, strict=True)]
