"""Configuration of a generation, written once for all its uses.

A field of ``GenerateConfig`` is an option of ``mmdisco generate``, a keyword of
``mmdisco.generate``, a key of its YAML and of a line of a prompt file, and a key of the record
beside a clip. Its name, meaning, bounds and panel of the help stand here alone. Imports neither
torch nor a model, so that a mistake is answered at once.
"""

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, cast

from pydantic import ConfigDict, Field, model_validator

from mmdisco.core.av import AV
from mmdisco.errors import UserError
from mmdisco.io.settings import EXACT, FINEST, HEIGHT_AND_WIDTH, Panel, Positional, Settings, Side

if TYPE_CHECKING:
    import torch

VARIABLE: Final = "MMDISCO_WEIGHTS"
PRESET: Final = "embedded"
"""Preset that is used where no model is named."""

PIPELINES: Final = ("video_model", "audio_model", "joint_model")
"""Options that stand in the place of a preset: the first two together, or the third."""

BUILD: Final = ("seconds", "size", "fps", "dtype", "device", "offload", "vae_slicing", "vae_tiling")
"""Options that decide latents: prepared clips and fake pairs record them, beside the models."""

MOST_CLIPS: Final = 256
"""Clips that a request samples in one batch."""


@dataclass(frozen=True)
class ForCFG:
    """Mark of an option that has no effect where classifier-free guidance is off.

    Attributes:
        keyword: Keyword of ``ClassifierFreeGuidance`` that takes its value, if one does.
    """

    keyword: str | None = None


_AS_RELEASED: Final = {
    "scheduler": "brings its own scheduler",
    "guidance": "takes the gradient",
    "joint_every": "evaluates the discriminator at every step",
    "smc_every": "resamples nothing",
}

SAMPLING: Final = Panel("Sampling")
CLIPS: Final = Panel("Clips")
MODELS: Final = Panel("Models")
RELEASE: Final = Panel("Reproduction")

Scale = Annotated[float | None, SAMPLING]
SchedulerName = Literal[
    "ddim",
    "ddpm",
    "ddpm-clip",
    "dpm++2m",
    "dpm++3m",
    "sde-dpm++2m",
    "dpm++2s",
    "unipc",
    "euler",
    "euler-ancestral",
    "flow-euler",
]
"""Names of ``mmdisco.core.schedulers``, which imports libraries."""


class SystemConfig(Settings):
    """Choice of a system: a preset and the options it is built with; ``None`` is the preset's own.

    Raises:
        UserError: A value is out of its range or of another kind, or two exclude each other.
    """

    model_config = ConfigDict(strict=False)  # a cell of a table is text

    preset: str | None = PRESET
    """Preset to generate with; `mmdisco presets` lists them. Or the folder of a pair that `mmdisco
    bases` wrote."""
    video_model: Annotated[str | None, MODELS] = None
    """Video pipeline of diffusers, beside --audio-model in the place of a preset: a folder, or an
    id on the Hugging Face hub."""
    audio_model: Annotated[str | None, MODELS] = None
    """Audio pipeline of diffusers, beside --video-model."""
    joint_model: Annotated[str | None, MODELS] = None
    """Pipeline of diffusers that makes video with sound (LTX-2), in the place of both."""
    seconds: Annotated[Fraction | None, Field(gt=0, le=3600), EXACT, CLIPS] = None
    """Length of a clip."""
    frames: Annotated[int | None, Field(ge=1, le=10_000), CLIPS] = None
    """Length of a clip in frames."""
    size: Annotated[tuple[Side, Side] | None, HEIGHT_AND_WIDTH, CLIPS] = None
    """HEIGHTxWIDTH of the frames in pixels."""
    fps: Annotated[Fraction | None, Field(gt=0, le=1000), EXACT, CLIPS] = None
    """Frames per second."""
    as_released: Annotated[bool, RELEASE] = False
    """Run the preset as the released code does, its mistakes included."""
    weights: Annotated[Path | None, MODELS] = None
    """Folder of weights; MMDISCO_WEIGHTS or ~/.cache/mmdisco otherwise. For embedded, the folder of
    another pair of its kind."""
    discriminator: Annotated[str | None, MODELS] = None
    """Folder that `mmdisco train` wrote, or its id on the Hugging Face hub, in place of the
    preset's own discriminator."""
    dtype: Annotated[Literal["float32", "float16", "bfloat16"], MODELS] = "float32"
    """Precision of the networks: float32, float16 or bfloat16."""
    device: Annotated[str, MODELS] = "cpu"
    """Device of the networks, by torch's name: cpu, cuda, …"""
    offload: Annotated[bool, MODELS] = False
    """Keep networks in main memory until they are used."""
    vae_slicing: Annotated[bool, MODELS] = False
    """Decode image by image."""
    vae_tiling: Annotated[bool, MODELS] = False
    """Decode large images in tiles."""

    @model_validator(mode="before")
    @classmethod
    def _name_one_pair(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        given: dict[str, Any] = dict(cast("dict[str, Any]", values))
        video, audio, joint = (given.get(name) is not None for name in PIPELINES)
        if not (video or audio or joint):
            return given
        if joint and (video or audio):
            raise UserError("--joint-model makes both: leave --video-model and --audio-model out")
        if video != audio:
            raise UserError("--video-model and --audio-model belong together: give both or none")
        if given.get("preset") is not None:
            raise UserError("a preset and models exclude each other: leave --preset out")
        return {**given, "preset": None}

    @model_validator(mode="after")
    def _check_system(self) -> "SystemConfig":
        if self.frames is not None and self.seconds is not None:
            raise UserError("--frames and --seconds say the same: leave one out")
        if self.as_released and self.discriminator is not None:
            raise UserError("--as-released brings its own discriminator: leave --discriminator out")
        if self.as_released and self.preset is None:
            raise UserError("these models were not released as a pair: leave --as-released out")
        return self

    @property
    def system(self) -> "SystemConfig":
        """Choice of the system alone."""
        return SystemConfig(**{name: getattr(self, name) for name in SystemConfig.model_fields})

    @property
    def title(self) -> str:
        """Name of the preset, or of the models, for messages."""
        return self.preset or self.joint_model or f"{self.video_model} with {self.audio_model}"

    @property
    def folder(self) -> Path:
        """Folder of weights: as given, else ``MMDISCO_WEIGHTS``, else ~/.cache/mmdisco."""
        if self.weights is not None:
            return self.weights.expanduser()
        named = os.environ.get(VARIABLE)
        return Path(named).expanduser() if named else Path.home() / ".cache" / "mmdisco"

    @property
    def torch_dtype(self) -> "torch.dtype":
        """Precision of the networks."""
        import torch

        return getattr(torch, self.dtype)

    def torch_device(self) -> "torch.device":
        """Return the device of the networks.

        Raises:
            UserError: This machine has none of that name.
        """
        import torch

        try:
            device = torch.device(self.device)
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            reason = str(error).split("\n", 1)[0].split(". ", 1)[0]
            raise UserError(f"device {self.device!r} cannot be used: {reason}") from error
        return device

    def build_options(self) -> dict[str, Any]:
        """Return the options of ``BUILD`` for JSON."""
        models = {name: getattr(self, name) for name in PIPELINES if getattr(self, name)}
        return {**self.model_dump(mode="json", include=set(BUILD)), **models}


class GenerateConfig(SystemConfig):
    """Request for clips; ``None`` leaves an option to the preset's own default.

    ``generation.resolve`` fills in the defaults; the filled one is what a record holds.

    Raises:
        UserError: A value is out of its range or of another kind, or two exclude each other.
    """

    prompt: Annotated[str | None, Positional(several=True)] = None
    """Description of picture and sound, as in "a red ball bouncing". May be left out where a video
    or a sound is given."""
    audio_prompt: str | None = None
    """Description of the sound where it is another than that of the picture."""
    no_prompt: bool = False
    """Ask for any clip: for a discriminator trained without captions."""
    seed: Annotated[int, Field(ge=0, le=2**62)] = 0
    """Seed of the first sample; sample i uses seed + i."""
    samples: Annotated[int, Field(ge=1, le=MOST_CLIPS)] = 1
    """Number of clips of each prompt, made in one batch."""
    candidates: Annotated[int, Field(ge=1, le=64), SAMPLING] = 1
    """Clips that are sampled for each one that is kept, the one whose sound and picture belong
    together most by the discriminator's logit. Costs so many times the sampling."""
    smc_every: Annotated[int | None, Field(ge=1, le=1000), SAMPLING] = None
    """Resample the candidates of a clip after every so many steps, by sequential Monte Carlo with
    the growth of that logit: those that agree go on, several times, in the place of others."""
    video: Path | None = None
    """Video to make sound for, up to the length of a clip; a shorter one holds its last frame."""
    audio: Path | None = None
    """Sound to make a video for, used up to the length of a clip; a shorter one is padded with
    silence."""
    audio_track: Annotated[int | None, Field(ge=1, le=1000), CLIPS] = None
    """Number of the audio track to read, from 1; the one that players play if left out."""
    start: Annotated[Fraction, EXACT, Field(ge=0, le=FINEST)] = Fraction(0)
    """Second of the given video or sound to begin at."""
    negative_prompt: Annotated[str, SAMPLING, ForCFG()] = ""
    """Prompt that classifier-free guidance leads away from."""
    audio_negative_prompt: Annotated[str | None, SAMPLING, ForCFG()] = None
    """The same for the sound, where it is another."""
    steps: Annotated[int | None, Field(ge=1, le=1000), SAMPLING] = None
    """Evaluations of the base models."""
    scheduler: Annotated[SchedulerName | None, SAMPLING] = None
    """Scheduler; an unknown name lists them. The default of a preset may depend on the steps."""
    resample: Annotated[int, Field(ge=0, le=100), SAMPLING] = 0
    """Number of times that each step is repeated from latents noised back by one step."""
    no_joint_guidance: Annotated[bool, SAMPLING] = False
    """Sample the unguided baseline."""
    joint_scale: Scale = None
    """Scale of joint guidance in both modalities; 1 is unscaled."""
    joint_scale_audio: Scale = None
    """Scale of joint guidance in the sound."""
    joint_scale_video: Scale = None
    """Scale of joint guidance in the video."""
    guidance: Annotated[Literal["gradient", "distilled"] | None, SAMPLING] = None
    """Source of joint guidance: gradient of the discriminator, or distilled, a small network that
    `mmdisco train --distill` made of it: a fraction of the cost, less exact."""
    joint_every: Annotated[int | None, Field(ge=1, le=1000), SAMPLING] = None
    """Evaluate the discriminator at the first of so many evaluations and reuse its gradient for the
    others: cheaper, less exact."""
    joint_min_logsnr: Scale = None
    """Lowest ln(α²/σ²) with joint guidance; below is more noise."""
    joint_max_logsnr: Scale = None
    """Highest ln(α²/σ²) with joint guidance."""
    cfg_scale: Scale = None
    """Scale of classifier-free guidance in both modalities; 1 is off."""
    cfg_scale_audio: Scale = None
    """Scale of classifier-free guidance in the sound."""
    cfg_scale_video: Scale = None
    """Scale of classifier-free guidance in the video."""
    modality_scale: Scale = None
    """Scale of a joint model's own contrast with a prediction that hears and sees one side alone
    (LTX-2's modality guidance); 1 is off."""
    cfg_rescale: Annotated[float, Field(ge=0, le=1), SAMPLING, ForCFG("rescale")] = 0.0
    """Share φ of the guided noise that is rescaled to the standard deviation of the conditional
    noise, against overexposure at large scales."""
    batch_cfg: Annotated[bool, SAMPLING, ForCFG("batched")] = False
    """Evaluate both prompts of classifier-free guidance in one batch: more memory, often faster."""

    @model_validator(mode="after")
    def _check_prompts(self) -> "GenerateConfig":
        texts = self.captions.audio + self.captions.video + self.negatives.audio
        if any("\ud800" <= letter <= "\udfff" for letter in texts + self.negatives.video):
            raise UserError("the prompt is no text: write it in UTF-8")
        if self.no_prompt and (self.prompt, self.audio_prompt) != (None, None):
            raise UserError("--no-prompt and a prompt exclude each other: leave one out")
        if self.audio is not None and self.audio_prompt is not None:
            raise UserError("--audio-prompt has no effect on a given sound: leave it out")
        return self

    @model_validator(mode="after")
    def _check_request(self) -> "GenerateConfig":
        if self.video is not None and self.audio is not None:
            raise UserError("a video and a sound are given: give one, and the other is made for it")
        if self.audio_track is not None and self.audio is None:
            raise UserError("an audio track is chosen and no sound is given: leave it out")
        if self.start and self.given is None:
            raise UserError("a start has no effect without a given video or sound: leave it out")
        scales = (self.joint_scale, self.joint_scale_audio, self.joint_scale_video)
        if self.no_joint_guidance and scales != (None, None, None):
            raise UserError("--no-joint-guidance and a scale exclude each other: leave one out")
        if self.samples * self.candidates > MOST_CLIPS:
            raise UserError(
                f"{self.samples} samples of {self.candidates} candidates are one batch: ask for "
                f"at most {MOST_CLIPS} in all"
            )
        self._check_models()
        return self

    def _check_models(self) -> None:
        if self.preset is None and (self.batch_cfg or self.cfg_rescale):
            raise UserError(
                "models apply their own classifier-free guidance: leave --batch-cfg and "
                "--cfg-rescale out"
            )
        if self.joint_model is None and self.modality_scale is not None:
            raise UserError("--modality-scale is of a --joint-model: leave it out")
        if self.joint_model and (self.audio_prompt, self.audio_negative_prompt) != (None, None):
            raise UserError(
                "a joint model reads one prompt: leave --audio-prompt and --audio-negative-prompt "
                "out"
            )
        for name, reason in _AS_RELEASED.items():
            if self.as_released and getattr(self, name) is not None:
                raise UserError(f"--as-released {reason}: leave --{name.replace('_', '-')} out")

    @property
    def caption(self) -> str:
        """Prompt, or "" where nothing in particular is asked for."""
        return self.prompt or ""

    @property
    def captions(self) -> AV[str]:
        """Prompt of either side."""
        return AV(self.caption if self.audio_prompt is None else self.audio_prompt, self.caption)

    @property
    def negatives(self) -> AV[str]:
        """Negative prompt of either side."""
        audio = self.audio_negative_prompt
        return AV(self.negative_prompt if audio is None else audio, self.negative_prompt)

    @property
    def given(self) -> Path | None:
        """Path of the given file, if there is one."""
        return self.audio if self.video is None else self.video

    @property
    def seeds(self) -> list[int]:
        """Seed of every candidate, sample by sample; the first is the sample's own."""
        return [
            candidate_seed(self.seed + sample, candidate)
            for sample in range(self.samples)
            for candidate in range(self.candidates)
        ]

    @property
    def discriminates(self) -> bool:
        """Whether the discriminator is run: to guide, or to choose among candidates."""
        guides = not self.no_joint_guidance and self.guidance != "distilled"
        return guides or self.candidates > 1

    @property
    def for_cfg(self) -> dict[str, Any]:
        """Values of the options that classifier-free guidance reads, by the keyword it has."""
        return {mark.keyword: getattr(self, name) for name, mark in CFG.items() if mark.keyword}

    def to_record(self) -> dict[str, Any]:
        """Return every option that is set, for JSON, apart from the folder of weights."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {
            name: _plain(value)
            for name, value in values.items()
            if value is not None and name != "weights"
        }


CFG: Final = {
    name: mark
    for name, field in GenerateConfig.model_fields.items()
    for mark in field.metadata
    if isinstance(mark, ForCFG)
}
"""Options without effect where classifier-free guidance is off."""

REQUEST: Final = tuple(
    name for name in GenerateConfig.model_fields if name not in SystemConfig.model_fields
)
"""Options of a request alone, which a line of a prompt file may set."""


def _plain(value: Any) -> Any:
    if isinstance(value, Fraction):
        return float(value)
    if isinstance(value, Path):
        return str(value.resolve())
    return list(value) if isinstance(value, tuple) else value


def candidate_seed(seed: int, candidate: int) -> int:
    """Return the seed of a candidate of a clip; the first has the clip's own."""
    from mmdisco.core.rng import derived_seed

    return derived_seed(seed, candidate) if candidate else seed
