"""Systems that requests run on: base models, their discriminator, and default settings.

Settings are kept by name, so that they can be written down; requests and files are unknown here.
Imports no networks: a system loads them when it is asked to.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdisco.core.av import AV
from mmdisco.errors import UserError
from mmdisco.media.clip import ClipSpec

if TYPE_CHECKING:
    from mmdisco.core.denoiser import JointModel
    from mmdisco.core.discriminator import Discriminator
    from mmdisco.discriminators.two_tower import AudioVideoConfig
    from mmdisco.generation.pipeline import GuidanceOrder, SamplerConfig


@dataclass(frozen=True)
class SamplingDefaults:
    """Default settings of generation, by name.

    Attributes:
        steps: Evaluations of the base models.
        scheduler: A name of ``mmdisco.core.schedulers``.
        cfg_scale: Scale w of classifier-free guidance.
        joint_scale: Scale s of joint generation.
        video_to_audio: Scale s where the video is given.
        audio_to_video: Scale s where the audio is given.
        joint_min_logsnr: Lowest ln(α²/σ²) with joint guidance, if it has an end; below, its
            gradient changes little and would cost as much.
        joint_max_logsnr: Highest ln(α²/σ²) with joint guidance, if it has an end.
        joint_every: Number n of guided evaluations per run of the discriminator: the first of
            every n evaluates it, the others reuse its gradient.
        few_steps: Largest number of steps at which the next two hold: large steps follow a gradient
            that turns as fast as that of joint guidance less far.
        few_steps_scheduler: A name of ``mmdisco.core.schedulers``; "" is ``scheduler``.
        few_steps_scale: Factor of every joint scale.
    """

    steps: int
    scheduler: str
    cfg_scale: AV[float]
    joint_scale: AV[float]
    video_to_audio: float
    audio_to_video: float
    joint_min_logsnr: float | None = None
    joint_max_logsnr: float | None = None
    joint_every: int = 1
    few_steps: int = 0
    few_steps_scheduler: str = ""
    few_steps_scale: float = 1.0

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> "SamplingDefaults":
        """Read the settings of a pair's ``config.json``.

        Raises:
            KeyError, TypeError, ValueError: They are not whole, or no numbers.
        """
        return SamplingDefaults(
            steps=record["steps"],
            scheduler=record["scheduler"],
            cfg_scale=AV(*map(float, record["cfg_scale"])),
            joint_scale=AV(*map(float, record["joint_scale"])),
            video_to_audio=float(record["video_to_audio"]),
            audio_to_video=float(record["audio_to_video"]),
            joint_min_logsnr=record["joint_min_logsnr"],
            joint_max_logsnr=record["joint_max_logsnr"],
            few_steps=int(record.get("few_steps", 0)),
            few_steps_scheduler=str(record.get("few_steps_scheduler", "")),
            few_steps_scale=float(record.get("few_steps_scale", 1.0)),
        )

    def in_steps(self, steps: int) -> "SamplingDefaults":
        """Return the defaults for a number of steps."""
        if steps > self.few_steps:
            return replace(self, steps=steps)
        factor = self.few_steps_scale
        return replace(
            self,
            steps=steps,
            scheduler=self.few_steps_scheduler or self.scheduler,
            joint_scale=self.joint_scale.map(lambda scale: factor * scale),
            video_to_audio=factor * self.video_to_audio,
            audio_to_video=factor * self.audio_to_video,
            few_steps=0,
        )

    @property
    def settings(self) -> "SamplerConfig":
        """Return the sampler configuration of joint generation."""
        from mmdisco.core.guidance import IntervalScale
        from mmdisco.core.log_ratio import ReuseEvery
        from mmdisco.core.schedulers import solver
        from mmdisco.generation.pipeline import SamplerConfig

        low = -math.inf if self.joint_min_logsnr is None else self.joint_min_logsnr
        high = math.inf if self.joint_max_logsnr is None else self.joint_max_logsnr
        return SamplerConfig(
            self.steps,
            AV(solver(self.scheduler), solver(self.scheduler)),
            self.cfg_scale,
            self.joint_scale.map(lambda scale: IntervalScale(scale, low, high)),
            reuse=ReuseEvery(self.joint_every),
        )


@dataclass(frozen=True)
class Requirements:
    """Requirements of a request that a system must meet.

    Attributes:
        prompt: The prompt; may be empty.
        guided: Whether the discriminator is run.
        one_sided: Whether one modality is given.
        negative: Negative prompt; may be empty.
        chosen: Whether some of the samples are kept.
    """

    prompt: str
    guided: bool
    one_sided: bool
    negative: str = ""
    chosen: bool = False


class JointSystem(ABC):
    """Two base models and their discriminator, loaded on demand."""

    @property
    @abstractmethod
    def prompted(self) -> bool:
        """Whether the base models read prompts."""

    @property
    @abstractmethod
    def independent(self) -> bool:
        """Whether sound and video are made independently, sharing the caption only."""

    @property
    def two_levels(self) -> bool:
        """Whether either side may have a noise level of its own, or be clean."""
        return self.independent

    @property
    def lossy(self) -> bool:
        """Whether autoencoders stand between clips and latents, which keep a part of a clip."""
        return True

    def known_words(self, prompt: str) -> tuple[int, int] | None:
        """Count the words of a prompt that say something to the models, and all that would.

        Returns:
            Both numbers; None where any text is read.
        """
        return None

    @property
    @abstractmethod
    def form(self) -> ClipSpec:
        """Format of the clips."""

    @property
    def window(self) -> Fraction:
        """Length in seconds that the models know: longer clips are made in overlapping windows."""
        return self.form.seconds

    @property
    @abstractmethod
    def method(self) -> "GuidanceOrder":
        """Order in which models and guidance are combined."""

    def outline(self) -> "JointSystem":
        """Return the system without weights, for a bill, if it can be built so; else itself."""
        return self

    @abstractmethod
    def sampling(self) -> SamplingDefaults:
        """Return the default settings of generation."""

    @abstractmethod
    def expect(self, demand: Requirements) -> list[str]:
        """Check, before anything is loaded, that a demand can be met.

        Returns:
            Deviations from the demand, one line each.

        Raises:
            UserError: It cannot be met, or files are missing.
        """

    @abstractmethod
    def model(self, seeds: Sequence[int] = ()) -> "JointModel":
        """Load the base models.

        Args:
            seeds: Seeds of the clips of a run, for models that draw random numbers of their own.

        Raises:
            UserError: Files are missing or damaged.
        """

    def expect_fitting(self, config: "AudioVideoConfig", name: str) -> None:
        """Check that a discriminator reads what the base models make.

        Args:
            config: Configuration of the discriminator.
            name: Name of the preset, for the message.

        Raises:
            UserError: It does not.
        """
        from mmdisco.discriminators.hub import check_fitting

        model = self.model()
        shapes = model.latent_shapes(float(self.window))
        texts = model.encode_prompts([""]).map(lambda one: one.pooled.shape[1])
        check_fitting(config, shapes, texts, name)

    def latent_rates(self) -> AV[float]:
        """Return the steps per second of either latent, for a discriminator's clock."""
        seconds = float(self.form.seconds)
        return self.model().latent_shapes(seconds).map(lambda shape: shape[1] / seconds)

    def describe(self) -> Mapping[str, Mapping[str, str]]:
        """Return what names the base models, by side, where a preset does not."""
        return {}

    @abstractmethod
    def discriminator(self) -> "Discriminator":
        """Load the discriminator of this pair.

        Raises:
            UserError: There is none, or its file is missing or damaged.
        """

    def distilled_folder(self) -> Path:
        """Return the folder of the network that is distilled from the discriminator.

        Raises:
            UserError: There can be none.
        """
        raise UserError(
            "there is no distilled network for this discriminator: train one with `mmdisco train "
            "--distill` and give its folder with --discriminator, or leave --guidance out"
        )

    @abstractmethod
    def weight_hashes(self) -> Mapping[str, str]:
        """Return checksums of the weights by name, to notice other weights."""


def expect_own_discriminator(title: str, demand: Requirements) -> None:
    """Refuse guidance by a discriminator of models for which nobody has published one.

    Raises:
        UserError: It is asked for.
    """
    if demand.guided:
        raise UserError(
            f"{title} has no published discriminator: give --discriminator FOLDER, or "
            "--no-joint-guidance for the models alone"
        )
