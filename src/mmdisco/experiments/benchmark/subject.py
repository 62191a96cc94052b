"""Benchmark cases: a profiled guided denoiser, and all that its steps need."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn

from mmdisco.core.av import AV
from mmdisco.core.coupling import SameTimestep
from mmdisco.core.denoiser import Conditioning, JointDenoiser
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.guidance import ClassifierFreeGuidance, ConstantScale, JointGuidance, JointScale
from mmdisco.core.log_ratio import ReuseEvery
from mmdisco.core.noise import NoiseSchedule
from mmdisco.core.sampler import Sampler
from mmdisco.core.schedulers import solver
from mmdisco.discriminators.wrappers import OnDevice
from mmdisco.errors import UserError
from mmdisco.experiments.benchmark.profiler import DISCRIMINATOR, ProfiledJoint, Profiler

STEPS: Final = 50
THEORY: Final[AV[JointScale]] = AV(ConstantScale(1.0), ConstantScale(1.0))
CAPTIONS: Final = AV(2.5, 7.5)

Guide = Callable[[JointDenoiser], JointDenoiser]
"""Adds joint guidance to base models."""


@dataclass(frozen=True)
class BenchmarkConfig:
    """Configuration of a benchmark.

    Attributes:
        seconds: Length of sound; ``None`` is the pair's default, as for the three below.
        frames: Number of video frames.
        height: Height in pixels.
        width: Width in pixels.
        batch: Clips per batch.
        device: Device of the networks; latents stay on the CPU, as when sampling.
        dtype: Precision of the base models. The discriminator always computes in single precision.
        seed: Seed of the weights, the captions and the noise.
        guidance_every: Guided evaluations that share one gradient; as many steps form a round, the
            unit of timing.
    """

    seconds: float | None = None
    frames: int | None = None
    height: int | None = None
    width: int | None = None
    batch: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - immutable
    dtype: torch.dtype = torch.float32
    seed: int = 0
    guidance_every: int = 1

    def __post_init__(self) -> None:
        sizes = (self.seconds, self.frames, self.height, self.width, self.batch)
        if any(size is not None and not size > 0 for size in sizes):
            raise UserError("a size of 0 or less: give sizes above 0")
        if self.guidance_every < 1:
            raise UserError(f"guidance at every {self.guidance_every} steps: give 1 or more")
        if self.seed < 0:
            raise UserError(f"seed {self.seed}: give 0 or more")

    def expect_usual(self, name: str) -> None:
        """Refuse sizes for a pair that has only one.

        Raises:
            UserError: A length or a size is given.
        """
        if (self.seconds, self.frames, self.height, self.width) != (None, None, None, None):
            raise UserError(f"{name} makes clips of one size: leave the sizes out")


@dataclass(frozen=True)
class BenchmarkCase:
    """A pair that is ready to take steps.

    Attributes:
        denoiser: Guided denoiser with profiled parts.
        sampler: Sampler whose steps are measured.
        shapes: Shapes of the latents, with the batch in front.
        cond: Captions.
        weights: Number of weights by part.
    """

    denoiser: JointDenoiser
    sampler: Sampler
    shapes: AV[torch.Size]
    cond: AV[Conditioning]
    weights: Mapping[str, int]


class BenchmarkPair(ABC):
    """Two base models, or a joint one, and a discriminator."""

    @abstractmethod
    def set_up(self, setting: BenchmarkConfig, ledger: Profiler) -> BenchmarkCase:
        """Make the networks.

        Raises:
            UserError: The pair cannot be made in these sizes.
        """


@dataclass(frozen=True)
class Text:
    """Sizes of the caption embeddings of one modality, 0 where there are none.

    Attributes:
        pooled: Width of the vector for the discriminator.
        tokens: Number of vectors for the base model; 0 where it reads the pooled one.
    """

    pooled: int
    tokens: int = 0

    def draw(self, batch: int, generator: torch.Generator) -> Conditioning:
        """Draw random captions."""
        if self.tokens == 0:
            vectors = torch.randn(batch, self.pooled, generator=generator)
            return Conditioning(vectors, (vectors,))
        tokens = torch.randn(batch, self.tokens, self.pooled, generator=generator)
        return Conditioning(tokens.mean(dim=1), (tokens,))


class PromptGuidance(ABC):
    """Combination of joint guidance with classifier-free guidance."""

    @abstractmethod
    def expect(self, setting: BenchmarkConfig) -> None:
        """Check that the combination supports a configuration.

        Raises:
            UserError: It does not.
        """

    @abstractmethod
    def guided(self, base: JointDenoiser, guide: Guide, null: AV[Conditioning]) -> JointDenoiser:
        """Add both kinds to ``base``; ``null`` is the empty caption."""


@dataclass(frozen=True)
class GuidanceOutsidePrompts(PromptGuidance):
    """The discriminator once a step, as in ``mmdisco generate``."""

    def expect(self, setting: BenchmarkConfig) -> None:
        """Accept every configuration."""

    def guided(self, base: JointDenoiser, guide: Guide, null: AV[Conditioning]) -> JointDenoiser:
        """Apply joint guidance outside."""
        return guide(ClassifierFreeGuidance(base, null, CAPTIONS))


@dataclass(frozen=True)
class GuidanceInsidePrompts(PromptGuidance):
    """The discriminator with and without caption, as in the release."""

    def expect(self, setting: BenchmarkConfig) -> None:
        """Refuse shared gradients: both evaluations need one at every step.

        Raises:
            UserError: A gradient is to serve several steps.
        """
        if setting.guidance_every > 1:
            raise UserError("the released way asks at every step: leave --joint-every out")

    def guided(self, base: JointDenoiser, guide: Guide, null: AV[Conditioning]) -> JointDenoiser:
        """Apply classifier-free guidance outside: everything inside runs twice a step."""
        return ClassifierFreeGuidance(guide(base), null, CAPTIONS)


def guide_of(discriminator: Discriminator, setting: BenchmarkConfig, ledger: Profiler) -> Guide:
    """Add joint guidance, profiled as the discriminator."""
    placed = OnDevice(discriminator, setting.device)

    def guide(base: JointDenoiser) -> JointDenoiser:
        held = ReuseEvery(setting.guidance_every).begin()
        return ProfiledJoint(JointGuidance(base, placed, THEORY, held), ledger, DISCRIMINATOR)

    return guide


def captions(text: AV[Text], setting: BenchmarkConfig) -> tuple[AV[Conditioning], AV[Conditioning]]:
    """Draw random captions of a batch, and the empty one."""
    generator = torch.Generator().manual_seed(setting.seed)
    cond = text.map(lambda one: one.draw(setting.batch, generator))
    return cond, text.map(lambda one: one.draw(1, generator))


def ddim(schedules: AV[NoiseSchedule]) -> Sampler:
    """Make a sampler of fifty steps of DDIM."""
    return Sampler(SameTimestep(schedules), AV(solver("ddim"), solver("ddim")), STEPS)


def count(network: nn.Module) -> int:
    """Count the weights of a network."""
    return sum(weight.numel() for weight in network.parameters())
