"""Configurations of the studies' commands. Imports neither torch nor a model."""

import os
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator

from mmdisco.errors import UserError
from mmdisco.generation.config import PIPELINES
from mmdisco.io.settings import EXACT, Count, Named, Positional, Settings

SEEDS: Final = 3  # by default


class StudyConfig(Settings):
    """What the commands of all studies share.

    Raises:
        UserError: A value is out of its range or of another kind, or two exclude each other.
    """

    model_config = ConfigDict(strict=False)

    seeds: Count | None = None
    """Seeds of training and sampling, counted from 0; 3."""
    jobs: Count = os.cpu_count() or 1
    """Processes."""
    threads: Count = 1
    """CPU threads of each process; other numbers round otherwise."""
    quick: bool = False
    """Very small and one seed: to see that it works."""

    @model_validator(mode="after")
    def _check_seeds(self) -> "StudyConfig":
        if self.quick and self.seeds is not None:
            raise UserError("--seeds has no effect with --quick, which has one: leave one out")
        return self

    @property
    def number_of_seeds(self) -> int:
        """Seeds as given, else as usual."""
        return self.seeds or (1 if self.quick else SEEDS)


class ToyConfig(StudyConfig):
    """Configuration of a toy study: which cells, and changes of their recipe."""

    study: str = "losses"
    """Which study; an unknown name lists them."""
    problems: Annotated[tuple[str, ...], Named("--problem")] = ()
    """Only this one; may be repeated."""
    settings: Annotated[tuple[str, ...], Named("--setting")] = ()
    """Only ind or ood; may be repeated."""
    losses: Annotated[tuple[str, ...], Named("--loss")] = ()
    """Only disc, denoise, both, or contrast-1 or contrast-10 (both, and contrast of that weight);
    may be repeated."""
    steps: int | None = None
    """Training steps."""
    width: int | None = None
    """Width of the discriminator."""
    batch_size: int | None = None
    """Real pairs a step."""
    denoising: Annotated[float | None, Named("--lambda")] = None
    """Weight λ of the denoising loss."""
    distribution: str | None = None
    """Distribution of noise levels: power (usual), or importance."""
    power: float | None = None
    """Its exponent: 1 is uniform, 2 favours low noise."""
    trained_bases: Annotated[bool | None, Named("--trained-bases/--analytic-bases")] = None
    """Small networks, or closed forms."""
    samples: int | None = None
    """Samples of each evaluation."""
    out: Path | None = None
    """Folder of the results."""
    quick: bool = False
    """Two problems, one seed, under a minute."""

    @property
    def folder(self) -> Path:
        """Folder of the results: as given, else named after the study."""
        return self.out or Path("runs", "toy", f"{self.study}-quick" if self.quick else self.study)

    @property
    def changes(self) -> dict[str, Any]:
        """Settings of the recipe that are given, by dotted key."""
        values = {
            "training.steps": self.steps,
            "width": self.width,
            "training.batch_size": self.batch_size,
            "denoising": self.denoising,
            "levels.distribution": self.distribution,
            "levels.power": self.power,
            "trained_bases": self.trained_bases,
            "samples": self.samples,
        }
        return {key: value for key, value in values.items() if value is not None}


class AblateConfig(StudyConfig):
    """Configuration of an ablation study."""

    study: Annotated[str, Positional()]
    """central, loss, contrast, fusion, size, steps, negatives, levels (these train), scales,
    intervals, reuse, samplers or resampling (these only sample)."""
    out: Path = Path("ablations")
    """Folder of all studies, which share what is trained."""
    data: Path | None = None
    """Folder that `mmdisco prepare` made; embedded data if not."""
    fakes: Path | None = None
    """Folder that `mmdisco sample-fakes` made."""
    weights: Path | None = None
    """Folder of weights; MMDISCO_WEIGHTS or ~/.cache/mmdisco otherwise. For embedded, the folder of
    another pair."""
    discriminator: str | None = None
    """Folder or hub id of the one that studies of sampling use."""
    pair_stores: Path | None = None
    """Folder with embedded pairs in stores real and fake; made if left out."""
    clips: int | None = None
    """Made for each variant and seed: 128 on embedded data, 0 on other."""
    steps: int | None = None
    """Training steps of a variant; 600."""
    contrastive_steps: int | None = None
    """Steps of contrastive pretraining, of attention+correlation; 600, 0 is none."""
    contrastive: float | None = None
    """Weight of the contrastive loss throughout the training; 10 on embedded data, 0 leaves the two
    losses of the paper."""
    variants: Annotated[tuple[str, ...], Named("--variant")] = ()
    """Only this one, beside the unguided baseline; may be repeated."""

    @model_validator(mode="after")
    def _check_data(self) -> "AblateConfig":
        if (self.data is None) != (self.fakes is None):
            raise UserError("give both --data and --fakes, or neither for the embedded data")
        if self.data is not None and self.pair_stores is not None:
            raise UserError("--pair-stores is for the embedded data: leave it out")
        return self


class BenchmarkConfig(Settings):
    """Configuration of a benchmark: the pair, its sizes, and how often a step is timed.

    Raises:
        UserError: A value is out of its range or of another kind.
    """

    model_config = ConfigDict(strict=False)

    pair: Annotated[str | None, Positional()] = None
    """Which pair; an unknown name lists them."""
    video_model: str | None = None
    """Video pipeline of diffusers: a folder or an id, with its weights."""
    audio_model: str | None = None
    """Audio pipeline of diffusers, beside --video-model."""
    joint_model: str | None = None
    """Pipeline of diffusers that makes video with sound (LTX-2), in the place of both."""
    repeats: PositiveInt = 3
    """Steps that are timed."""
    warm_up: Annotated[bool, Named("--warm-up/--no-warm-up")] = True
    """A step before them; where a step takes minutes it can be spared."""
    joint_every: PositiveInt = 1
    """Steps that share one gradient; they are timed together."""
    guidance: Literal["gradient", "distilled"] = "gradient"
    """Source of joint guidance: gradient of the discriminator, or distilled, a small network in its
    place; of the embedded pair, or of models."""
    threads: PositiveInt | None = None
    """CPU threads; torch's choice if left out."""
    seconds: Annotated[Fraction | None, Field(gt=0), EXACT] = None
    """Seconds of sound; 2 if left out."""
    frames: PositiveInt | None = None
    """Frames of video; 16 if left out."""
    height: PositiveInt | None = None
    """Height in pixels; 256 if left out."""
    width: PositiveInt | None = None
    """Width in pixels; 256 if left out."""
    batch: PositiveInt = 1
    """Clips at once."""
    device: str = "cpu"
    """Device of the networks, by torch's name: cpu or cuda."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """Precision of the base models: float32, float16, bfloat16. The discriminator always computes
    in float32."""
    seed: NonNegativeInt = 0
    """Seed of the random weights and the noise."""
    out: Path | None = None
    """JSON file to write or add to; a table goes beside it. Records of other pairs are kept."""

    @property
    def models(self) -> dict[str, str]:
        """Options that name models."""
        return {name: str(getattr(self, name)) for name in PIPELINES if getattr(self, name)}

    @property
    def title(self) -> str:
        """Name of the pair, or of the models."""
        return self.pair or self.joint_model or f"{self.video_model} with {self.audio_model}"

    @property
    def sizes(self) -> tuple[Fraction | int | None, ...]:
        """Sizes of a clip, where they are given."""
        return (self.seconds, self.frames, self.height, self.width)

    @property
    def length(self) -> Fraction:
        """Length of the clips in seconds: as given, else 2."""
        return self.seconds or Fraction(2)
