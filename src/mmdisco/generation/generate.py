"""A request for clips, its checks, and how it becomes a run.

A ``Request`` is checked when it is made; ``prepare`` reads the given file and the weights and fills
in the settings that the request leaves open. The command line and ``mmdisco.generate`` both come
through here. Writes no files and shows no progress.
"""

import math
import warnings
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from torch import Tensor

from mmdisco.core.av import AV
from mmdisco.core.guidance import ClassifierFreeGuidance
from mmdisco.discriminators.wrappers import ZeroLogit
from mmdisco.errors import UserError
from mmdisco.generation.pipeline import (
    AudioToVideo,
    GenerationRun,
    JointGeneration,
    Task,
    VideoToAudio,
)
from mmdisco.generation.presets.miniature import folder_of
from mmdisco.generation.system import JointSystem, Requirements, SamplingDefaults
from mmdisco.media.clip import Audio, AudioVideo, NotFiniteError
from mmdisco.media.conditioning_clip import (
    BEGINNING,
    ClipSpec,
    read_conditioning_audio,
    read_conditioning_video,
)
from mmdisco.media.read import bring_down

MOST_SEED: Final = 2**62  # generators take 64 bits
MOST_SAMPLES: Final = 256  # one batch in memory holds all of them
MOST_STEPS: Final = 1000  # the number of levels of the schedules
MOST_CORRECTIONS: Final = 100


@dataclass(frozen=True)
class Request:
    """A request for clips; ``None`` leaves a setting to the system's own default.

    Attributes:
        prompt: Description of picture and sound. May be empty where a file is given, which asks for
            nothing in particular. None for a system that reads no prompts.
        seed: Seed of the first sample; sample i has seed + i.
        samples: Number of clips, all made in one batch.
        video: Video file to make sound for, used up to the system's clip length; the last frame is
            held if it is shorter.
        audio: Audio file to make a video for, used up to the system's clip length; padded with
            silence if it is shorter.
        audio_track: Number of the audio track of ``audio``, from 1; None is the track that a player
            plays.
        start: Start of the part of the given file that is used, seconds.
        joint_scale: Scale s of the discriminator's gradient; 0 in both is the unguided baseline.
            The value of a given modality has no effect.
        joint_levels: Lowest and highest ln(α²/σ²) with joint guidance.
        guidance_every: Number of guided evaluations that share one gradient of the discriminator.
        guidance_scale: Scale w of classifier-free guidance; 1 is off.
        steps: Evaluations of the base models.
        scheduler: A name of ``mmdisco.core.schedulers``.
        negative_prompt: Prompt that classifier-free guidance leads away from; "" is unconditional.
        batched_cfg: Whether both prompts of classifier-free guidance are one batch.
        resamples: Number of times that each step is repeated from latents noised back by one step.

    Raises:
        UserError: A value is out of its range, or two of them exclude each other.
    """

    prompt: str | None = ""
    seed: int = 0
    samples: int = 1
    video: Path | None = None
    audio: Path | None = None
    audio_track: int | None = None
    start: Fraction = BEGINNING
    joint_scale: AV[float] | None = None
    joint_levels: tuple[float, float] | None = None
    guidance_every: int | None = None
    guidance_scale: AV[float] | None = None
    steps: int | None = None
    scheduler: str | None = None
    negative_prompt: str = ""
    batched_cfg: bool = False
    resamples: int = 0

    def __post_init__(self) -> None:
        self._check_given()
        if self.given is None and self.prompt is not None and not self.prompt.strip():
            raise UserError('the prompt is empty: describe a clip, as in "a red ball bouncing"')
        if any("\ud800" <= letter <= "\udfff" for letter in self.caption + self.negative_prompt):
            raise UserError("the prompt is no text: write it in UTF-8")
        _check_seed(self.seed)
        _check_count("samples", self.samples, MOST_SAMPLES)
        if self.steps is not None:
            _check_count("steps", self.steps, MOST_STEPS)
        if self.guidance_every is not None:
            _check_count("evaluations a gradient", self.guidance_every, MOST_STEPS)
        if self.joint_levels is not None and not self.joint_levels[0] < self.joint_levels[1]:
            low, high = self.joint_levels
            raise UserError(f"guidance from ln(α²/σ²) = {low:g} to {high:g}: give the lower first")
        if not 0 <= self.resamples <= MOST_CORRECTIONS:
            raise UserError(f"{self.resamples} resamples: ask for 0 to {MOST_CORRECTIONS}")
        _check_finite("joint", self.joint_scale)
        _check_finite("guidance", self.guidance_scale)

    def _check_given(self) -> None:
        if self.video is not None and self.audio is not None:
            raise UserError("a video and a sound are given: give one, and the other is made for it")
        if self.audio_track is not None and self.audio is None:
            raise UserError("an audio track is chosen and no sound is given: leave it out")
        if self.start < 0:
            raise UserError(f"start at {float(self.start):g} s: give 0 or more")
        if self.start and self.given is None:
            raise UserError("a start has no effect without a given video or sound: leave it out")

    @property
    def caption(self) -> str:
        """Prompt, or "" where nothing is asked for."""
        return self.prompt or ""

    @property
    def given(self) -> Path | None:
        """Path of the given file, if there is one."""
        return self.audio if self.video is None else self.video

    @property
    def task(self) -> str:
        """Description of the task for messages and records."""
        if self.given is None:
            return "joint"
        return "audio to video" if self.video is None else "video to audio"


@dataclass(frozen=True)
class PreparedGeneration:
    """A request with all it needs to run.

    Attributes:
        request: The request as it was made.
        sampling: The request's settings, completed by the system's defaults; ``joint_scale`` is
            that of the request's task.
        generation: Models, settings and the given modality.
        prompts: One prompt per clip.
        seeds: One seed per clip.
        warnings: Deviations from the request, one line each.
    """

    request: Request
    sampling: SamplingDefaults
    generation: GenerationRun
    prompts: list[str]
    seeds: list[int]
    warnings: list[str]

    def run(self) -> Iterator[AV[Tensor]]:
        """Sample, and yield the latents after each step."""
        return self.generation.run(self.prompts, self.seeds)

    def clips(self, z_0: AV[Tensor]) -> list[AudioVideo]:
        """Decode the final latents of ``run``, with a warning where a sound is attenuated.

        Raises:
            UserError: The run or a decoder produced values that are not finite.
        """
        if not (z_0.audio.isfinite().all() and z_0.video.isfinite().all()):
            raise UserError(
                "the run left the range of numbers: ask for more steps or smaller scales"
            )
        try:
            clips = self.generation.clips(z_0)
        except NotFiniteError as error:
            raise UserError(
                f"{error}: ask for --dtype float32 or bfloat16, since decoders overflow in float16"
            ) from error
        return [AudioVideo(_audible(clip.audio), clip.video) for clip in clips]


def prepare(request: Request, pair: JointSystem) -> PreparedGeneration:
    """Read the given file and the weights, and choose what the request leaves open.

    Raises:
        UserError: The system knows no word of the prompt, the scheduler is unknown, a file is
            missing or cannot be used, or the system cannot do what is asked.
    """
    # cheap checks come first
    sampling = resolve(request, pair.sampling())
    prompts = partial(ClassifierFreeGuidance, batched=request.batched_cfg)
    settings = replace(sampling.settings, classifier_free=prompts, resamples=request.resamples)
    guided = sampling.joint_scale != AV(0.0, 0.0)
    notices = pair.expect(
        Requirements(request.caption, guided, request.given is not None, request.negative_prompt)
    )
    task = _task(request, pair.form)
    seeds = [request.seed + index for index in range(request.samples)]
    generation = GenerationRun(
        model=pair.model(seeds),
        discriminator=pair.discriminator() if guided else ZeroLogit(),
        settings=settings,
        task=task,
        seconds=float(pair.form.seconds),
        negative=request.negative_prompt,
        method=pair.method,
    )
    return PreparedGeneration(
        request=request,
        sampling=sampling,
        generation=generation,
        prompts=[request.caption] * request.samples,
        seeds=seeds,
        warnings=notices,
    )


def resolve(request: Request, sampling: SamplingDefaults) -> SamplingDefaults:
    """Override ``sampling`` by the settings of ``request``; ``joint_scale`` is that of its task."""
    guidance, joint = request.guidance_scale, request.joint_scale
    best = default_joint_scale(request, sampling)
    return replace(
        sampling,
        steps=sampling.steps if request.steps is None else request.steps,
        solver=sampling.solver if request.scheduler is None else request.scheduler,
        guidance_scale=sampling.guidance_scale if guidance is None else guidance.map(float),
        joint_scale=best if joint is None else _where_made(request, joint.map(float)),
        joint_levels=request.joint_levels or sampling.joint_levels,
        guidance_every=request.guidance_every or sampling.guidance_every,
    )


def default_joint_scale(request: Request, sampling: SamplingDefaults) -> AV[float]:
    """Return the system's own s for the task of ``request``; 0 for a given modality."""
    if request.given is None:
        return sampling.joint_scale
    return _where_made(request, AV(sampling.video_to_audio, sampling.audio_to_video))


def generate(  # noqa: PLR0913 - the options of the command
    prompt: str = "",
    *,
    seed: int = 0,
    samples: int = 1,
    video: Path | str | None = None,
    audio: Path | str | None = None,
    joint_scale: AV[float] | None = None,
    guidance_scale: AV[float] | None = None,
    steps: int | None = None,
    scheduler: str | None = None,
    weights: Path | str | None = None,
) -> list[AudioVideo]:
    """Make clips of 1.6 s with the embedded pair: 16 frames of 64×64, 25,600 samples at 16 kHz.

    Words of the prompt that the pair does not know are ignored, with a warning. A setting that is
    ``None`` takes the pair's default, the best one measured.

    Args:
        prompt: Description of picture and sound; may be empty where a file is given.
        seed: Seed of the first sample; sample i has seed + i.
        samples: Number of clips, all made in one batch.
        video: Video file to make sound for: its first 1.6 s, the last frame held if it is shorter.
            The clips have its picture at its own rate and size.
        audio: Audio file to make a video for: its first 1.6 s, padded with silence if it is
            shorter. The clips have its sound at its own rate.
        joint_scale: Scale s of the discriminator's gradient; 0 in both is the unguided baseline.
        guidance_scale: Scale w of classifier-free guidance; 1 is off.
        steps: Evaluations of the base models.
        scheduler: A name of ``mmdisco.core.schedulers``.
        weights: Folder of another pair of this kind.

    Returns:
        One clip per sample.

    Raises:
        UserError: A value is out of its range, the pair knows no word of the prompt, or a file
            cannot be used.
    """
    request = Request(
        prompt=prompt,
        seed=seed,
        samples=samples,
        video=None if video is None else Path(video),
        audio=None if audio is None else Path(audio),
        joint_scale=joint_scale,
        guidance_scale=guidance_scale,
        steps=steps,
        scheduler=scheduler,
    )
    prepared = prepare(request, folder_of(None if weights is None else Path(weights)))
    for line in prepared.warnings:
        warnings.warn(line, stacklevel=2)
    return prepared.clips(deque(prepared.run(), maxlen=1).pop())


def _task(request: Request, form: ClipSpec) -> Task:
    if request.video is not None:
        seen, shown = read_conditioning_video(request.video, form, start=request.start)
        return VideoToAudio([seen] * request.samples, [shown] * request.samples)
    if request.audio is not None:
        heard, played = read_conditioning_audio(
            request.audio, form, request.start, request.audio_track
        )
        return AudioToVideo([heard] * request.samples, [played] * request.samples)
    return JointGeneration()


def _audible(audio: Audio) -> Audio:
    quieter = bring_down(audio)
    if quieter is not audio:
        peak = float(np.abs(audio.waveform).max())
        warnings.warn(
            f"the sound has a peak of {peak:.3g}, more than files hold: brought down",
            stacklevel=3,
        )
    return quieter


def _where_made(request: Request, scale: AV[float]) -> AV[float]:
    return AV(
        audio=scale.audio if request.audio is None else 0.0,
        video=scale.video if request.video is None else 0.0,
    )


def _check_count(name: str, count: int, most: int) -> None:
    if count < 1:
        raise UserError(f"{count} {name}: ask for at least 1")
    if count > most:
        raise UserError(f"{count} {name}: ask for at most {most}")


def _check_seed(seed: int) -> None:
    if seed < 0:
        raise UserError(f"seed {seed}: give 0 or more")
    if seed > MOST_SEED:
        raise UserError(f"a seed of {len(str(seed))} digits: give at most {MOST_SEED}")


def _check_finite(name: str, scale: AV[float] | None) -> None:
    if scale is not None and not (math.isfinite(scale.audio) and math.isfinite(scale.video)):
        raise UserError(f"{name} scale {scale.audio} and {scale.video}: give finite numbers")
