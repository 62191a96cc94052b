"""Configuration of own base models: one tree for ``mmdisco bases`` and the recipes.

Imports neither torch nor a model.
"""

import math
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from mmdisco.adapters.miniature import FORM, side_factor
from mmdisco.data.config import VALIDATION
from mmdisco.errors import UserError
from mmdisco.io.settings import EXACT, HEIGHT_AND_WIDTH, Panel, Positional, Settings, Side
from mmdisco.media.clip import ClipSpec

CLIPS: Final = Panel("Clips")
_GROUP: Final = 8  # channels of a normalisation's group
_SLACK: Final = Fraction(1, 10)  # of a frame, for lengths in decimals

Widths = Annotated[tuple[int, ...], Field(min_length=1, max_length=5)]


class FitConfig(Settings):
    """Training of one network: AdamW, and the average of its weights as the result."""

    steps: PositiveInt = 3000
    """Updates in all."""
    batch_size: PositiveInt = 32
    """Samples of an update."""
    learning_rate: PositiveFloat = 2e-3
    """Peak; linear warm-up, then half a cosine to 1 % of it."""
    warmup_steps: PositiveInt = 100
    """Updates of the warm-up."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decoupled weight decay."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.995
    """Decay of the averaged weights."""
    checkpoint_every: PositiveInt = 500
    """Updates from one checkpoint to the next; a stop loses so many at most."""

    def rate(self, step: int) -> float:
        """Return the learning rate of an update."""
        fall = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.learning_rate * min(1.0, (step + 1) / self.warmup_steps) * (0.01 + 0.99 * fall)


class AutoencoderFit(FitConfig):
    """Autoencoder of one modality and its training."""

    widths: Widths = (24, 48)
    """Channels of each level, multiples of 8. Each further level halves both sides of the
    latents."""


class DenoiserFit(FitConfig):
    """Denoiser of one modality and its training."""

    steps: PositiveInt = 12_000
    """Updates in all."""
    learning_rate: PositiveFloat = 1.5e-3
    """Peak; linear warm-up, then half a cosine to 1 % of it."""
    warmup_steps: PositiveInt = 400
    """Updates of the warm-up."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.9995
    """Decay of the averaged weights."""
    channels: PositiveInt = 32
    """Channels of the convolutions, a multiple of 8."""
    width: PositiveInt = 256
    """Width of the transformer over time, a multiple of 4."""
    layers: PositiveInt = 4
    """Layers of the transformer."""


class BasesConfig(Settings):
    """Configuration of own base models: clips, their format, and the networks.

    Raises:
        UserError: A value is out of its range or of another kind, or sizes do not fit together.
    """

    model_config = ConfigDict(strict=False)

    source: Annotated[Path, Positional()]
    """A folder of short clips with sound."""
    out: Path
    """Folder of the pair."""
    captions: Annotated[str, CLIPS] = "folders"
    """A .csv or .jsonl file (path, caption), or folders: their names."""
    size: Annotated[tuple[Side, Side], HEIGHT_AND_WIDTH, CLIPS] = FORM.size
    """HEIGHTxWIDTH of the frames in pixels; 64x64."""
    fps: Annotated[Fraction, Field(gt=0, le=1000), EXACT, CLIPS] = FORM.fps
    """Frames per second."""
    seconds: Annotated[Fraction, Field(gt=0, le=60), EXACT, CLIPS] = FORM.seconds
    """Length of a clip, a whole number of frames."""
    sample_rate: Annotated[int, Field(ge=4000, le=48_000), CLIPS] = FORM.sample_rate
    """Samples of sound per second."""
    validation: Annotated[float, Field(ge=0, lt=1), CLIPS] = VALIDATION
    """Share of the files that nothing is trained on."""
    seed: Annotated[int, Field(ge=0, le=2**62)] = 0
    """Seed of everything random."""
    sample_every: PositiveInt = 2000
    """Updates of a denoiser from one sheet of samples to the next."""
    latent_channels: Annotated[int, Field(ge=1, le=64)] = 4
    """Channels of either latent."""
    text: FitConfig = FitConfig(steps=1500, batch_size=256, learning_rate=3e-3, ema=0.99)
    """Text encoder."""
    audio_autoencoder: AutoencoderFit = AutoencoderFit(batch_size=8)
    """Autoencoder of spectrograms."""
    video_autoencoder: AutoencoderFit = AutoencoderFit(widths=(24, 48, 64))
    """Autoencoder of frames."""
    audio_denoiser: DenoiserFit = DenoiserFit(steps=14_000, width=192)
    """Denoiser of sound."""
    video_denoiser: DenoiserFit = DenoiserFit()
    """Denoiser of video."""

    @model_validator(mode="after")
    def _check_sizes(self) -> "BasesConfig":
        for name, one in (("audio", self.audio_autoencoder), ("video", self.video_autoencoder)):
            if any(width < 1 or width % _GROUP for width in one.widths):
                raise UserError(f"{name}_autoencoder.widths {one.widths}: give multiples of 8")
        for name, one in (("audio", self.audio_denoiser), ("video", self.video_denoiser)):
            if one.channels % _GROUP or one.width % 4:
                raise UserError(
                    f"{name}_denoiser: give channels in multiples of 8 and a width in those of 4"
                )
        factor, (height, width) = side_factor(self.video_autoencoder.widths), self.size
        if height % factor or width % factor:
            raise UserError(
                f"a size of {height}x{width}: give multiples of {factor}, for this autoencoder"
            )
        asked = self.seconds * self.fps
        if round(asked) < 2 or abs(asked - round(asked)) > _SLACK:
            whole = max(2, round(asked))
            raise UserError(
                f"{float(self.seconds):g} s at {float(self.fps):g} frames a second are "
                f"{float(asked):g} frames: give a whole number, as --seconds "
                f"{float(whole / self.fps):.6g}"
            )
        return self

    @property
    def form(self) -> ClipSpec:
        """Format of the clips, of a whole number of frames."""
        frames = round(self.seconds * self.fps)
        return ClipSpec(frames / self.fps, self.fps, self.size, self.sample_rate)

    def arguments(self) -> dict[str, Any]:
        """Return what must not change between a run and its resumption, for JSON."""
        tree = self.tree()
        if Path(self.captions).suffix:  # a file
            tree["captions"] = str(Path(self.captions).absolute())
        return {**tree, "source": str(self.source.absolute()), "out": None}
