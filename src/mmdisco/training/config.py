"""Configuration of a training: one tree for ``mmdisco train``, ablations, toy study and recipes.

The keys of a YAML file are the names of these fields; ``mmdisco train --defaults`` prints them all.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from mmdisco.data.config import ClipModels
from mmdisco.errors import UserError
from mmdisco.io.files import write_text
from mmdisco.io.settings import Settings
from mmdisco.io.yaml_files import parse_yaml, read_mapping

FusionName = Literal["attention", "attention+correlation", "pooled", "additive"]
Share = Annotated[float, Field(ge=0, le=1)]
AtLeastTwo = Annotated[int, Field(ge=2)]


class DiscriminatorConfig(Settings):
    """Architecture of the discriminator. What is null follows from the size of the latents."""

    fusion: FusionName = "attention"
    """How sound and video meet. attention: all frames and audio steps attend to each other.
    attention+correlation: inner products beside it, which find sooner what belongs together.
    pooled: each modality is averaged over time first, which hides what is simultaneous. additive:
    not at all, the control."""
    width: PositiveInt = 128
    """Channels of a tower's first level, C in the paper."""
    depth: PositiveInt | None = None
    """Residual blocks per level, L in the paper."""
    channel_mult: tuple[int, ...] | None = None
    """Channels of each level, in units of width."""
    d_model: PositiveInt | None = None
    """Width of the transformer over time, or of the hidden layer of pooled."""
    num_layers: PositiveInt | None = None
    """Layers of the transformer."""
    num_heads: PositiveInt = 4
    """Attention heads of a layer; twice their number divides d_model."""
    bfloat16: bool | None = None
    """Whether the towers compute in bfloat16; their weights, the transformer and the logit stay
    float32. Null is true for videos of more than 32768 latent positions."""
    gradient_checkpointing: bool | None = None
    """Whether a tower's blocks are computed again in the backward pass, which saves memory and
    takes time. Null is true for videos of more than 32768 latent positions."""


class NoiseLevelConfig(Settings):
    """Distribution of the noise levels of a training pair."""

    distribution: Literal["power", "importance"] = "power"
    """power: u = uniform^power along the sampler's coupling; importance: u in proportion to the
    root mean square of the loss there."""
    power: PositiveFloat = 1.0
    """Exponent of power; 1 is uniform, 2 favours low noise."""
    independent: Share | None = None
    """Share of pairs whose two levels are drawn independently; null is 0.35, or 0 for base models
    that have one common level."""
    one_sided: Share | None = None
    """Share of pairs with one clean modality, for generation from a given sound or video; null is
    0.3, or 0 for base models that take no given modality."""


class LossConfig(Settings):
    """Weights of the losses; discrimination and denoising are not both 0."""

    discrimination: NonNegativeFloat = 1.0
    """Weight of the cross-entropy of real and fake pairs."""
    denoising: NonNegativeFloat = 1000.0
    """Weight of the denoising loss, λ in the paper."""
    contrastive: NonNegativeFloat = 0.0
    """Weight of the contrastive loss beside them throughout the training, about 10 where it is
    used. Needs the fusion attention+correlation."""


class NegativesConfig(Settings):
    """Negatives that the discriminator learns to separate from real pairs."""

    recombine: bool | None = None
    """Whether sounds and videos of fakes of one caption are recombined; null is true for two
    separate base models, whose samples agree through the caption alone."""
    shuffled_fraction: Share = 0.0
    """Share of real pairs with shuffled audio, within their caption, among the negatives; 1 uses no
    fakes."""


class ContrastiveConfig(Settings):
    """Groups of real pairs for the contrastive loss, in pretraining and training.

    See ``mmdisco.training.contrastive``.
    """

    groups: PositiveInt = 4
    """Groups of clips per step, each of one caption."""
    group_size: AtLeastTwo = 16
    """Clips per group; captions of fewer clips are left out."""
    uncaptioned_fraction: Share = 0.25
    """Share of the groups that are random clips, without a caption."""
    power: PositiveFloat = 2.0
    """Exponent of the distribution of noise levels; above 1 favours low noise."""


class PretrainingConfig(Settings):
    """Contrastive pretraining within a batch of real pairs: no fakes, no base models."""

    steps: NonNegativeInt = 0
    """Number of updates before the training; 0 is none. Needs the fusion attention+correlation."""
    learning_rate: PositiveFloat = 2e-3
    """Peak learning rate."""
    warmup_steps: NonNegativeInt | None = None
    """Steps of linear warm-up; null is that of the training."""
    train_transformer_only: bool = False
    """Whether the training that follows changes the transformer only."""


class DistillationConfig(Settings):
    """Distillation of the discriminator's guidance into a small network without a backward pass.

    See ``mmdisco.training.distillation``.
    """

    steps: PositiveInt = 4000
    """Number of updates."""
    batch_size: Annotated[int, Field(ge=4, multiple_of=4)] = 32
    """States per step: half of them of guided runs, a quarter each of noised real and fake pairs.
    A multiple of 4."""
    learning_rate: PositiveFloat = 2e-3
    """Peak of the cosine schedule; warm-up, decay and averaging are those of training."""
    clips: PositiveInt = 256
    """Clips that are sampled with joint guidance; every guided state of them is kept."""
    clips_per_shard: PositiveInt = 16
    """Clips that are sampled in one batch."""
    joint_scales: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = (1.0, 2.0, 4.0)
    """Scales of joint guidance of these runs, in turn."""
    d_model: PositiveInt = 128
    """Width of the tokens; a multiple of twice num_heads."""
    num_layers: PositiveInt = 1
    """Layers of the transformer over time."""
    num_heads: PositiveInt = 4
    """Attention heads of a layer."""
    patch_width: PositiveInt = 160
    """Width of the layers before and after the transformer."""


class TrainerConfig(Settings):
    """Settings of the training loop."""

    steps: PositiveInt = 5000
    """Number of updates."""
    batch_size: PositiveInt = 32
    """Real pairs per step over all processes, and as many negatives."""
    learning_rate: PositiveFloat = 2e-3
    """Peak of the cosine schedule."""
    warmup_steps: NonNegativeInt = 200
    """Steps of linear warm-up."""
    weight_decay: NonNegativeFloat = 0.01
    """Decoupled weight decay of AdamW."""
    max_grad_norm: PositiveFloat = 1.0
    """Norm to which gradients are clipped."""
    ema_decay: Share = 0.998
    """Decay of the averaged weights, which are the result."""
    caption_dropout: Share = 0.1
    """Share of pairs, real and fake alike, that get the empty caption."""
    seed: NonNegativeInt = 0
    """Seed of every random number: step k draws from (seed, k) alone."""
    cache_period: NonNegativeInt = 0
    """Number of steps after which the same noised real pairs recur, for compute.cache_base; 0 is
    never. Fake pairs are always new."""
    log_every: PositiveInt = 100
    """Steps per line of the log."""
    checkpoint_every: PositiveInt = 250
    """Steps between checkpoints; one more is written at the end."""

    def rate(self, step: int) -> float:
        """Return the learning rate of a step: warm-up, then a half cosine to 0.5 % of the peak."""
        warm = min(1.0, (step + 1) / max(1, self.warmup_steps))
        fall = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.learning_rate * warm * (0.005 + 0.995 * fall)


class ComputeConfig(Settings):
    """Execution of a training step."""

    grad_accumulation: PositiveInt = 1
    """Number of micro-batches that a process splits its rows into, for less memory."""
    mixed_precision: Literal["fp32", "bf16"] | None = None
    """fp32 or bf16; null leaves it to accelerate launch."""
    cpu: bool = False
    """Whether to stay on the CPU."""
    cache_base: bool = False
    """Whether predictions of the base models are cached on disk; pays off with
    training.cache_period."""


class ValidationConfig(Settings):
    """Validation during training."""

    every: NonNegativeInt = 500
    """Steps between two measurements on held-out pairs; 0 is never."""
    pairs: AtLeastTwo = 256
    """Maximum number of held-out pairs."""
    levels: PositiveInt = 8
    """Number of noise levels."""
    clips: NonNegativeInt = 2
    """Number of sample clips made with the current discriminator; 0 is none."""
    clips_every: PositiveInt = 2500
    """Steps between sample clips."""
    clip_steps: PositiveInt | None = None
    """Sampling steps of these clips; null is the preset's."""


DECIDING: Final = (
    "levels",
    "loss",
    "negatives",
    "contrastive",
    "contrastive_pretraining",
    "training",
)
"""Sections that decide the weights, beside data, architecture and initial weights."""


class TrainingConfig(ClipModels):
    """Configuration of a training."""

    data: Path | None = None
    """Folder that `mmdisco prepare` made."""
    fakes: Path | None = None
    """Folder that `mmdisco sample-fakes` made of it."""
    out: Path | None = None
    """Folder of the trained discriminator."""
    init_from: str | None = None
    """Trained discriminator to begin with, whose architecture is used: a folder, an id on the hub,
    or preset for the preset's own. Null is new weights."""
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    """Architecture. What is null follows from the size of the latents."""
    levels: NoiseLevelConfig = NoiseLevelConfig()
    """Distribution of the noise levels."""
    loss: LossConfig = LossConfig()
    """Weights of the losses."""
    negatives: NegativesConfig = NegativesConfig()
    """Negatives that the discriminator learns to separate from real pairs."""
    contrastive: ContrastiveConfig = ContrastiveConfig()
    """Groups of real pairs for the contrastive loss, in pretraining and training."""
    contrastive_pretraining: PretrainingConfig = PretrainingConfig()
    """Contrastive pretraining within a batch of real pairs, without fakes and base models."""
    distill: bool = False
    """Distil guidance after the training: makes `generate --guidance distilled` possible, at a
    fraction of the discriminator's cost. May be added to a finished training."""
    distillation: DistillationConfig = DistillationConfig()
    """The small network of distill, and its training."""
    training: TrainerConfig = TrainerConfig()
    """The training loop."""
    compute: ComputeConfig = ComputeConfig()
    """Execution of a step; decides no weights, and may change when a training is resumed."""
    validation: ValidationConfig = ValidationConfig()
    """Validation during training; may change when a training is resumed."""

    def deciding(self) -> dict[str, Any]:
        """Return the settings that decide the weights, in JSON's types."""
        return self.model_dump(mode="json", include={*DECIDING, "discriminator"})

    def folder(self, name: Literal["data", "fakes", "out"]) -> Path:
        """Return one of the folders that a training needs.

        Raises:
            UserError: It is not set.
        """
        found: Path | None = getattr(self, name)
        if found is None:
            raise UserError(f"the settings lack {name}: give --{name} FOLDER")
        return found


def read_config(
    path: Path | None, given: Mapping[str, object], changes: Sequence[str] = ()
) -> TrainingConfig:
    """Read the configuration of a file, with changes.

    Args:
        path: YAML file; None for a configuration without one.
        given: Values by dotted key that replace those of the file; None leaves a value.
        changes: Further replacements as text, each ``key=value``, as in ``loss.denoising=100``.

    Raises:
        UserError: A key is unknown, a value has the wrong type or is out of its range, or the file
            is missing or no YAML.
    """
    config = TrainingConfig()
    if path is not None:
        config = TrainingConfig.of_tree(read_mapping(path), str(path))
    config = config.updated({key: one for key, one in given.items() if one is not None})
    return config.updated(parse_changes(changes))


def parse_changes(changes: Sequence[str]) -> dict[str, object]:
    """Parse changes as text, each ``key=value``, into values by dotted key.

    Raises:
        UserError: A change has another form, or its value is no YAML.
    """
    return dict(map(_change, changes))


def write_config(path: Path, config: TrainingConfig) -> None:
    """Write every setting, defaults too, as YAML."""
    write_text(path, yaml.safe_dump(config.tree(), sort_keys=False, allow_unicode=True))


def _change(change: str) -> tuple[str, object]:
    key, sign, value = change.partition("=")
    if not sign or not key.strip():
        raise UserError(f"setting {change!r}: write key=value, as in loss.denoising=100")
    return key.strip(), parse_yaml(value, f"setting {change[:80]!r}: the value")
