"""What is measured: a guided denoiser on accounts, and all that its steps need. Knows no pair."""

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
"""A base becomes one with joint guidance."""


@dataclass(frozen=True)
class BenchmarkConfig:
    """What is measured with.

    Attributes:
        seconds: Of sound; ``None`` is the pair's usual length, as of the three below.
        frames: Of video.
        height: Pixels.
        width: Pixels.
        batch: Clips at once.
        device: Where networks compute; latents stay on the CPU, as when sampling.
        dtype: Of the bases. The discriminator computes in single precision always.
        seed: Of the weights, the captions and the noise.
        guidance_every: Guided evaluations that share one gradient; so many steps are a round, and
            rounds are what is timed.
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
        """Refuse sizes where a pair has one only.

        Raises:
            UserError: A length or a size is given.
        """
        if (self.seconds, self.frames, self.height, self.width) != (None, None, None, None):
            raise UserError(f"{name} makes clips of one size: leave the sizes out")


@dataclass(frozen=True)
class BenchmarkCase:
    """A pair that is ready to take steps.

    Attributes:
        denoiser: Guided, its parts on accounts.
        sampler: Whose steps are measured.
        shapes: Of the latents, with the batch in front.
        cond: Captions.
        weights: Number of weights, by part.
    """

    denoiser: JointDenoiser
    sampler: Sampler
    shapes: AV[torch.Size]
    cond: AV[Conditioning]
    weights: Mapping[str, int]


class BenchmarkPair(ABC):
    """Two bases, or a joint one, and a discriminator."""

    @abstractmethod
    def set_up(self, setting: BenchmarkConfig, ledger: Profiler) -> BenchmarkCase:
        """Make the networks.

        Raises:
            UserError: The pair cannot be had in these sizes.
        """


@dataclass(frozen=True)
class Text:
    """Widths of the captions of one modality, 0 where there is none.

    Attributes:
        pooled: Of the vector for the discriminator.
        tokens: Number of vectors for the base; 0 where it reads the pooled one.
    """

    pooled: int
    tokens: int = 0

    def draw(self, batch: int, generator: torch.Generator) -> Conditioning:
        """Random captions."""
        if self.tokens == 0:
            vectors = torch.randn(batch, self.pooled, generator=generator)
            return Conditioning(vectors, (vectors,))
        tokens = torch.randn(batch, self.tokens, self.pooled, generator=generator)
        return Conditioning(tokens.mean(dim=1), (tokens,))


class PromptGuidance(ABC):
    """How joint guidance and classifier-free guidance go together."""

    @abstractmethod
    def expect(self, setting: BenchmarkConfig) -> None:
        """Refuse what cannot be had so.

        Raises:
            UserError: It cannot.
        """

    @abstractmethod
    def guided(self, base: JointDenoiser, guide: Guide, null: AV[Conditioning]) -> JointDenoiser:
        """Both around ``base``; ``null`` is the empty caption."""


@dataclass(frozen=True)
class GuidanceOutsidePrompts(PromptGuidance):
    """The discriminator once a step, as ``mmdisco generate`` has it."""

    def expect(self, setting: BenchmarkConfig) -> None:
        """All can be had."""

    def guided(self, base: JointDenoiser, guide: Guide, null: AV[Conditioning]) -> JointDenoiser:
        """Joint guidance outside."""
        return guide(ClassifierFreeGuidance(base, null, CAPTIONS))


@dataclass(frozen=True)
class GuidanceInsidePrompts(PromptGuidance):
    """The discriminator with the caption and without, as it was released."""

    def expect(self, setting: BenchmarkConfig) -> None:
        """Both are asked at every step.

        Raises:
            UserError: A gradient is to serve several steps.
        """
        if setting.guidance_every > 1:
            raise UserError("the released way asks at every step: leave --joint-every out")

    def guided(self, base: JointDenoiser, guide: Guide, null: AV[Conditioning]) -> JointDenoiser:
        """Classifier-free guidance outside: all that is inside runs twice a step."""
        return ClassifierFreeGuidance(guide(base), null, CAPTIONS)


def guide_of(discriminator: Discriminator, setting: BenchmarkConfig, ledger: Profiler) -> Guide:
    """Joint guidance, on the discriminator's account."""
    placed = OnDevice(discriminator, setting.device)

    def guide(base: JointDenoiser) -> JointDenoiser:
        held = ReuseEvery(setting.guidance_every).begin()
        return ProfiledJoint(JointGuidance(base, placed, THEORY, held), ledger, DISCRIMINATOR)

    return guide


def captions(text: AV[Text], setting: BenchmarkConfig) -> tuple[AV[Conditioning], AV[Conditioning]]:
    """Random captions of a batch, and the empty one."""
    generator = torch.Generator().manual_seed(setting.seed)
    cond = text.map(lambda one: one.draw(setting.batch, generator))
    return cond, text.map(lambda one: one.draw(1, generator))


def ddim(schedules: AV[NoiseSchedule]) -> Sampler:
    """Fifty steps of DDIM."""
    return Sampler(SameTimestep(schedules), AV(solver("ddim"), solver("ddim")), STEPS)


def count(network: nn.Module) -> int:
    """How many weights a network has."""
    return sum(weight.numel() for weight in network.parameters())
