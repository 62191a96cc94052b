"""All settings of a training, typed. The names in a YAML file are the names of these fields.

The settings of a training run that decide its weights.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from mmdisco.core.losses import MMDisCoLoss
from mmdisco.errors import UserError


@dataclass(frozen=True)
class TrainerConfig:
    """Settings of a run.

    Attributes:
        steps: Updates in all.
        batch_size: Real pairs, and as many fake ones, a step.
        learning_rate: Peak of the cosine schedule.
        warmup: Steps of linear warm-up.
        weight_decay: AdamW's, decoupled.
        clip: Largest gradient norm.
        ema: Decay of the averaged weights, which are the result.
        caption_dropout: Share of pairs, real and fake alike, that see the empty caption.
        seed: Of every random number: step k draws from (seed, k) alone.
        period: After so many steps the same noised real pairs come again, for a ``CachedDenoiser``;
            0 is never. Fake pairs are always new.
        log_every: Steps a line of the log sums up.
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
        """The learning rate of a step: warm-up, then half a cosine down to 0.5 % of the peak."""
        warm = min(1.0, (step + 1) / max(1, self.warmup))
        fall = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.learning_rate * warm * (0.005 + 0.995 * fall)


INDEPENDENT: Final = 0.35
ONE_SIDED: Final = 0.3
PRECISIONS: Final = {"fp32": "no", "bf16": "bf16"}  # YAML reads a bare no as false


@dataclass(frozen=True)
class DiscriminatorConfig:
    """The discriminator. What is null follows from the size of the preset's latents.

    Attributes:
        interaction: ``time``, every frame sees every step of sound; ``products``, the same with
            inner products beside it, which find what belongs together sooner; ``pooled``, either
            side is averaged over time before they meet; ``additive``, nothing sees anything, which
            is the control.
        width: Channels of a tower's first level.
        depth: Residual blocks a level.
        multipliers: Channels of each level, in units of ``width``.
        tokens: Width of the interaction in time.
        layers: Its layers.
        heads: Of its attention.
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
    """Which noise levels are seen.

    Attributes:
        law: ``power``, u = uniform^power; ``importance``, in proportion to the loss.
        power: 1 is uniform, 2 dwells on low noise.
        independent: Share of pairs whose two levels are drawn apart; null is 0.35, or 0 for bases
            that know one level.
        one_sided: Share of pairs with one side clean, for a given sound or video; null is 0.3, or
            0 for bases that take no given side.
    """

    law: Literal["power", "importance"] = "power"
    power: float = 1.0
    independent: float | None = None
    one_sided: float | None = None


@dataclass(frozen=True)
class NegativesConfig:
    """What real pairs are told apart from.

    Attributes:
        repaired: Whether sounds and videos of fakes of one caption are put together anew; null is
            true for two separate bases, whose samples agree through the caption alone.
        shuffled: Share of real pairs put together anew within their caption among the fakes; 1 is
            nothing else.
    """

    repaired: bool | None = None
    shuffled: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.shuffled <= 1:
            raise UserError(f"fakery.shuffled {self.shuffled}: give a share from 0 to 1")


@dataclass(frozen=True)
class ContrastiveConfig:
    """Contrast within a batch before the training: pairs of clips, no fakes, no bases.

    With ``discriminator.interaction`` products; see ``mmdisco.training.contrastive``.

    Attributes:
        steps: Updates; 0 is none.
        groups: Of clips, a step; each of one caption.
        group: Clips in a group.
        strangers: Share of the groups that are any clips, without a caption.
        power: Of the law of noise levels; above 1 dwells on low noise.
        learning_rate: Peak.
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
    """How a step is carried out.

    Attributes:
        accumulation: Parts that a process takes its share of the batch in, for less memory.
        precision: ``fp32`` or ``bf16``; null leaves it to ``accelerate launch``.
        cpu: Whether to stay on the CPU.
        remember: Whether what the bases say is kept on disk; pays with ``training.period``.
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
    """What is looked at on the way.

    Attributes:
        every: Steps between two measures on held-out pairs; 0 is never.
        pairs: Held-out pairs that are measured, at most.
        levels: Noise levels they are measured at.
        clips: Samples that are made with the discriminator as it is; 0 is none.
        clips_every: Steps between them.
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
    """A training.

    Attributes:
        data: Folder that ``mmdisco prepare`` made.
        fakes: Folder that ``mmdisco sample-fakes`` made of it.
        out: Folder of the trained discriminator.
        weights: Folder of weights of the preset; null looks where ``generate`` does.
        start: A trained discriminator to go on from: a folder, an id on the hub, or ``preset`` for
            the preset's own; it brings its shape. Null is new weights.
        discriminator: Its shape.
        levels: Noise levels.
        loss: Weights of cross-entropy and denoising loss; λ is ``loss.denoising``.
        fakery: What real pairs are told apart from.
        training: Steps, sizes, rates, seed.
        first: Contrast before the training.
        work: How a step is carried out.
        validation: What is looked at on the way.
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
