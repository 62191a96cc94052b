"""Typed configuration of a training. The keys of a YAML file are the names of these fields.

``TrainerConfig`` holds the settings of the loop itself, which decide the weights.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from mmdisco.core.losses import MMDisCoLoss
from mmdisco.errors import UserError


@dataclass(frozen=True)
class TrainerConfig:
    """Settings of the training loop.

    Attributes:
        steps: Number of updates.
        batch_size: Real pairs per step, and as many fake ones.
        learning_rate: Peak of the cosine schedule.
        warmup: Steps of linear warm-up.
        weight_decay: AdamW's decoupled weight decay.
        clip: Maximum gradient norm.
        ema: Decay of the averaged weights, which are the result.
        caption_dropout: Share of pairs, real and fake alike, that get the empty caption.
        seed: Seed of every random number: step k draws from (seed, k) alone.
        period: Number of steps after which the same noised real pairs recur, for a
            ``CachedDenoiser``; 0 is never. Fake pairs are always new.
        log_every: Steps per line of the log.
        checkpoint_every: Steps between checkpoints; one more is written at the end.
    """

    steps: int = 2500
    batch_size: int = 192
    learning_rate: float = 2e-3
    warmup: int = 200
    weight_decay: float = 0.0
    clip: float = 5.0
    ema: float = 0.999
    caption_dropout: float = 0.1
    seed: int = 0
    period: int = 0
    log_every: int = 100
    checkpoint_every: int = 1000

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "log_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} {getattr(self, name)}: give at least 1")
        if self.period < 0:
            raise UserError(f"period {self.period}: give at least 0")
        for name in ("learning_rate", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise UserError(f"{name} {getattr(self, name)}: give a number above 0")
        for name in ("ema", "caption_dropout"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} {getattr(self, name)}: give a share from 0 to 1")

    def rate(self, step: int) -> float:
        """Return the learning rate of a step: warm-up, then a half cosine to 0.5 % of the peak."""
        warm = min(1.0, (step + 1) / max(1, self.warmup))
        fall = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.learning_rate * warm * (0.005 + 0.995 * fall)


INDEPENDENT: Final = 0.35
ONE_SIDED: Final = 0.3
PRECISIONS: Final = {"fp32": "no", "bf16": "bf16"}  # YAML reads a bare no as false


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Architecture of the discriminator. What is null follows from the size of the latents.

    Attributes:
        interaction: ``time``, attention of every frame over every step of sound; ``products``, the
            same with inner products beside it, which learn faster which sound and video belong
            together; ``pooled``, each modality is averaged over time before they are fused;
            ``additive``, no interaction between the modalities, as a control.
        width: Channels of a tower's first level.
        depth: Residual blocks per level.
        multipliers: Channels of each level, in units of ``width``.
        tokens: Width of the transformer over time.
        layers: Number of its layers.
        heads: Number of its attention heads.
    """

    interaction: Literal["time", "products", "pooled", "additive"] = "time"
    width: int = 128
    depth: int | None = None
    multipliers: tuple[int, ...] | None = None
    tokens: int | None = None
    layers: int | None = None
    heads: int = 4


@dataclass(frozen=True)
class NoiseLevelConfig:
    """Distribution of the noise levels.

    Attributes:
        law: ``power``, u = uniform^power; ``importance``, in proportion to the loss.
        power: Exponent; 1 is uniform, 2 favours low noise.
        independent: Share of pairs whose two levels are drawn independently; null is 0.35, or 0 for
            base models that have one common level.
        one_sided: Share of pairs with one clean modality, for generation from a given sound or
            video; null is 0.3, or 0 for base models that take no given modality.
    """

    law: Literal["power", "importance"] = "power"
    power: float = 1.0
    independent: float | None = None
    one_sided: float | None = None


@dataclass(frozen=True)
class NegativesConfig:
    """Negatives that the discriminator learns to separate from real pairs.

    Attributes:
        repaired: Whether sounds and videos of fakes of one caption are recombined; null is true for
            two separate base models, whose samples agree through the caption alone.
        shuffled: Share of real pairs shuffled within their caption among the negatives; 1 uses no
            fakes.
    """

    repaired: bool | None = None
    shuffled: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.shuffled <= 1:
            raise UserError(f"fakery.shuffled {self.shuffled}: give a share from 0 to 1")


@dataclass(frozen=True)
class ContrastiveConfig:
    """Contrastive pretraining within a batch of real pairs: no fakes, no base models.

    Needs ``discriminator.interaction`` products; see ``mmdisco.training.contrastive``.

    Attributes:
        steps: Number of updates; 0 is none.
        groups: Groups of clips per step, each of one caption.
        group: Clips per group.
        strangers: Share of the groups that are random clips, without a caption.
        power: Exponent of the distribution of noise levels; above 1 favours low noise.
        learning_rate: Peak learning rate.
    """

    steps: int = 0
    groups: int = 4
    group: int = 16
    strangers: float = 0.25
    power: float = 2.0
    learning_rate: float = 2e-3

    def __post_init__(self) -> None:
        for name, least in (("steps", 0), ("groups", 1), ("group", 2)):
            if getattr(self, name) < least:
                raise UserError(f"first.{name} {getattr(self, name)}: give at least {least}")
        if not 0 <= self.strangers <= 1:
            raise UserError(f"first.strangers {self.strangers}: give a share from 0 to 1")


@dataclass(frozen=True)
class ComputeConfig:
    """Execution of a training step.

    Attributes:
        accumulation: Number of micro-batches that a process splits its rows into, for less memory.
        precision: ``fp32`` or ``bf16``; null leaves it to ``accelerate launch``.
        cpu: Whether to stay on the CPU.
        remember: Whether predictions of the base models are cached on disk; pays off with
            ``training.period``.
    """

    accumulation: int = 1
    precision: Literal["fp32", "bf16"] | None = None
    cpu: bool = False
    remember: bool = False

    def __post_init__(self) -> None:
        if self.accumulation < 1:
            raise UserError(f"work.accumulation {self.accumulation}: give at least 1")


@dataclass(frozen=True)
class ValidationConfig:
    """Validation during training.

    Attributes:
        every: Steps between two measurements on held-out pairs; 0 is never.
        pairs: Maximum number of held-out pairs.
        levels: Number of noise levels.
        clips: Number of sample clips made with the current discriminator; 0 is none.
        clips_every: Steps between sample clips.
        clip_steps: Sampling steps; null is the preset's.
    """

    every: int = 500
    pairs: int = 256
    levels: int = 8
    clips: int = 2
    clips_every: int = 2500
    clip_steps: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("every", 0), ("pairs", 2), ("levels", 1), ("clips", 0)):
            if getattr(self, name) < least:
                raise UserError(f"validation.{name} {getattr(self, name)}: give at least {least}")
        if self.clips_every < 1:
            raise UserError(f"validation.clips_every {self.clips_every}: give at least 1")


def _training() -> TrainerConfig:
    return TrainerConfig(
        steps=5000,
        batch_size=32,
        learning_rate=2e-3,
        warmup=200,
        weight_decay=0.01,
        clip=1.0,
        ema=0.998,
        caption_dropout=0.1,
        checkpoint_every=250,
    )


@dataclass(frozen=True)
class TrainingConfig:
    """Configuration of a training.

    Attributes:
        data: Folder that ``mmdisco prepare`` made.
        fakes: Folder that ``mmdisco sample-fakes`` made of it.
        out: Folder of the trained discriminator.
        weights: Folder of weights of the preset; null looks where ``generate`` does.
        start: A trained discriminator to begin with, whose architecture is used: a folder, an id on
            the hub, or ``preset`` for the preset's own. Null is new weights.
        discriminator: Architecture.
        levels: Distribution of noise levels.
        loss: Weights of cross-entropy and denoising loss; λ is ``loss.denoising``.
        fakery: Negatives.
        training: Steps, sizes, rates, seed.
        first: Contrastive pretraining.
        work: Execution of a step.
        validation: Validation during training.
    """

    data: Path
    fakes: Path
    out: Path
    weights: Path | None = None
    start: str | None = None
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    levels: NoiseLevelConfig = field(default_factory=NoiseLevelConfig)
    loss: MMDisCoLoss = field(default_factory=lambda: MMDisCoLoss(1.0, 1000.0))
    fakery: NegativesConfig = field(default_factory=NegativesConfig)
    training: TrainerConfig = field(default_factory=_training)
    first: ContrastiveConfig = field(default_factory=ContrastiveConfig)
    work: ComputeConfig = field(default_factory=ComputeConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
