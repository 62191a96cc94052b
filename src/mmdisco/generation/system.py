"""What a request is made against: two bases, their discriminator, and how they are best used.

Knows settings by name, so that they can be written down; knows no request and no file.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mmdisco.core.av import AV
from mmdisco.core.denoiser import JointModel
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.guidance import IntervalScale
from mmdisco.core.log_ratio import NoReuse, ReuseEvery
from mmdisco.core.schedulers import solver
from mmdisco.discriminators.hub import check_fitting
from mmdisco.discriminators.two_tower import AudioVideoConfig
from mmdisco.generation.pipeline import GuidanceOrder, SamplerConfig
from mmdisco.media.conditioning_clip import ClipSpec

EVERY_LEVEL: Final = (-math.inf, math.inf)


@dataclass(frozen=True)
class SamplingDefaults:
    """The settings that generation begins with, by name.

    Attributes:
        steps: Evaluations of the bases.
        solver: A name of ``sampling.named``.
        guidance_scale: w of classifier-free guidance.
        joint_scale: s of joint generation.
        video_to_audio: s where the video is given.
        audio_to_video: s where the audio is given.
        joint_levels: Lowest and highest ln(α²/σ²) at which joint guidance works; outside, its
            gradient changes little and would cost as much.
        guidance_every: Of so many guided evaluations of the bases the first asks the discriminator;
            the others hold its gradient.
    """

    steps: int
    solver: str
    guidance_scale: AV[float]
    joint_scale: AV[float]
    video_to_audio: float
    audio_to_video: float
    joint_levels: tuple[float, float] = EVERY_LEVEL
    guidance_every: int = 1

    @property
    def settings(self) -> SamplerConfig:
        """The settings of joint generation."""
        return SamplerConfig(
            self.steps,
            AV(solver(self.solver), solver(self.solver)),
            self.guidance_scale,
            self.joint_scale.map(lambda scale: IntervalScale(scale, *self.joint_levels)),
            asking=NoReuse() if self.guidance_every == 1 else ReuseEvery(self.guidance_every),
        )


def levels_of(record: Sequence[float | None]) -> tuple[float, float]:
    """Two ends from JSON, where an open one is null."""
    low, high = record
    return -math.inf if low is None else float(low), math.inf if high is None else float(high)


def levels_record(levels: tuple[float, float]) -> list[float | None]:
    """Undo ``levels_of``."""
    return [end if math.isfinite(end) else None for end in levels]


@dataclass(frozen=True)
class Requirements:
    """What a request asks of a pair.

    Attributes:
        prompt: May be empty.
        guided: Whether the discriminator is run.
        one_sided: Whether one side is given.
        negative: What the clip shall not be like; may be empty.
    """

    prompt: str
    guided: bool
    one_sided: bool
    negative: str = ""


class JointSystem(ABC):
    """Two bases and their discriminator, ready to be loaded."""

    @property
    @abstractmethod
    def prompted(self) -> bool:
        """Whether the bases read prompts."""

    @property
    @abstractmethod
    def independent(self) -> bool:
        """Whether the bases make sound and video apart, agreeing through the caption alone."""

    @property
    @abstractmethod
    def form(self) -> ClipSpec:
        """The clips they make."""

    @property
    @abstractmethod
    def method(self) -> GuidanceOrder:
        """How they are put together."""

    @abstractmethod
    def sampling(self) -> SamplingDefaults:
        """The settings that generation begins with."""

    @abstractmethod
    def expect(self, demand: Requirements) -> list[str]:
        """Make sure, before anything is loaded, that a demand can be met.

        Returns:
            What will be otherwise than it has it, a line each.

        Raises:
            UserError: It cannot be met, or files are missing.
        """

    @abstractmethod
    def model(self, seeds: Sequence[int] = ()) -> JointModel:
        """The bases.

        Args:
            seeds: Of the clips of a run, for bases that draw random numbers of their own.

        Raises:
            UserError: Files are missing or damaged.
        """

    def expect_fitting(self, config: AudioVideoConfig, name: str) -> None:
        """Make sure that a discriminator reads what the bases make.

        Args:
            config: Of the discriminator.
            name: Of the preset, for the message.

        Raises:
            UserError: It does not.
        """
        model = self.model()
        shapes = model.latent_shapes(float(self.form.seconds))
        texts = model.encode_prompts([""]).map(lambda one: one.pooled.shape[1])
        check_fitting(config, shapes, texts, name)

    @abstractmethod
    def discriminator(self) -> Discriminator:
        """Trained on this pair.

        Raises:
            UserError: There is none, or its file is missing or damaged.
        """

    @abstractmethod
    def weight_hashes(self) -> Mapping[str, str]:
        """A checksum of the weights by name, by which other ones are told apart."""
