"""Clips from a request, for the command line and for Python.

    GenerateConfig → resolve → check → prepare → run → clips

Writes no files and shows no progress. Networks are imported when a request is prepared, so that a
mistake in it is answered before.
"""

import inspect
import warnings
from collections import deque
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from mmdisco.core.av import AV
from mmdisco.errors import UserError
from mmdisco.generation.config import GenerateConfig
from mmdisco.generation.presets.registry import system_of
from mmdisco.generation.resolve import check, resolve
from mmdisco.generation.system import JointSystem
from mmdisco.media.clip import Audio, AudioVideo, ClipSpec, NotFiniteError

if TYPE_CHECKING:
    from torch import Tensor

    from mmdisco.core.discriminator import Discriminator
    from mmdisco.generation.particles import EffectiveSampleSize
    from mmdisco.generation.pipeline import GenerationRun, GuidanceOrder, SamplerConfig, Task


StepCallback = Callable[
    ["PreparedGeneration", int, AV[float], dict[str, Any]], Mapping[str, Any] | None
]
"""Called with the run, the step, the timesteps and {"latents": …} after each step."""

Function = TypeVar("Function", bound=Callable[..., Any])


def _described(function: Function) -> Function:
    """Give a function of a prompt and options the signature of ``GenerateConfig``, and its help."""
    fields = GenerateConfig.model_fields
    names = ("prompt", *(name for name in fields if name != "prompt"))
    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD
            if name == "prompt"
            else inspect.Parameter.KEYWORD_ONLY,
            default=fields[name].default,
            annotation=fields[name].annotation,
        )
        for name in names
    ]
    found = inspect.signature(function)
    own = [one for one in found.parameters.values() if one.kind is one.KEYWORD_ONLY]
    signature = found.replace(parameters=[*parameters, *own])
    setattr(function, "__signature__", signature)  # noqa: B010 - no attribute of the type
    said = {name: " ".join((fields[name].description or "").split()) for name in names}
    options = "\n".join(f"    {name}: {text}" for name, text in said.items())
    before, _, after = (inspect.getdoc(function) or "").partition("Args:\n")
    rest = after.partition("\n\n")[2]
    function.__doc__ = f"{before}Args:\n{options}\n\n{rest}"
    return function


@_described
def generate(
    prompt: str | None = None, *, callback_on_step_end: StepCallback | None = None, **options: Any
) -> list[AudioVideo]:
    """Generate clips with any preset.

    ``None`` leaves an option to the preset's default, the best one measured. Words that the
    embedded pair does not know are ignored, with a warning. ``callback_on_step_end`` is called
    after each step, as by pipelines of diffusers; an exception that it raises ends the run.

    Args:
        prompt: Description of picture and sound.
        callback_on_step_end: Called with the run, the step from 0, the pair of timesteps and
            {"latents": …}; what it returns as "latents" replaces them.
        **options: Fields of ``GenerateConfig``, which replaces this section by all of them.

    Returns:
        One clip per sample. A given video or sound is in it at its own rate and size.

    Raises:
        UserError: An option is unknown, out of its range or without effect, the preset knows no
            word of the prompt, or a file is missing or cannot be used.
    """
    config = GenerateConfig(prompt=prompt, **options)
    system = system_of(config)
    resolved = resolve(config, system)
    for line in check(resolved, system):
        warnings.warn(line, stacklevel=2)
    prepared = prepare(resolved, system)
    for line in prepared.remarks():
        warnings.warn(line, stacklevel=2)
    return prepared.select(prepared.sample(callback_on_step_end)).clips()


@dataclass(frozen=True)
class PreparedGeneration:
    """A resolved request with all it needs to run.

    Attributes:
        config: The request.
        generation: Models, settings and the given modality.
        lossy: Whether the models have autoencoders, which keep a part of the given modality.
    """

    config: GenerateConfig
    generation: "GenerationRun"
    lossy: bool = True

    def remarks(self) -> list[str]:
        """Measure, by decoding it again, how much of the given modality the models keep.

        Returns:
            A line if that is too little; none without a given modality.
        """
        if self.config.given is None or not self.lossy:
            return []
        try:
            line = self.generation.task.remark(self.generation.model)
        except UserError as error:  # the run itself does not decode the given modality
            line = f"how much of it the models keep is not known: {error}"
        return [f"{self.config.given}: {line}"] if line else []

    def run(
        self, watch: "Callable[[EffectiveSampleSize], object] | None" = None
    ) -> "Generator[AV[Tensor], AV[Tensor] | None]":
        """Sample, and yield the latents after each step; latents sent in answer replace them.

        Args:
            watch: Called with the effective sample sizes of candidates that are resampled.
        """
        generation, smc = self.generation, self.generation.settings.smc
        if watch is not None and smc is not None:
            settings = replace(generation.settings, smc=replace(smc, watch=watch))
            generation = replace(generation, settings=settings)
        return generation.run(self._prompts, self.config.seeds)

    def sample(self, callback_on_step_end: StepCallback | None = None) -> "AV[Tensor]":
        """Sample, and return the final latents.

        Args:
            callback_on_step_end: As that of ``generate``.
        """
        run = self.run()
        if callback_on_step_end is None:
            return deque(run, maxlen=1).pop()
        times = self.generation.sampler.levels().map(lambda level: level.t)
        z_t, sent = next(run), None
        for step in range(len(times.audio)):
            z_t = z_t if step == 0 else run.send(sent)
            timestep = times.map(lambda t, k=step: float(t[k]))
            answer = callback_on_step_end(self, step, timestep, {"latents": z_t})
            sent = (answer or {}).get("latents")
        return sent or z_t

    def select(self, z_0: "AV[Tensor]") -> "Selection":
        """Keep of the final latents of ``run`` the best candidate of each sample.

        Raises:
            UserError: The run produced values that are not finite.
        """
        if not (z_0.audio.isfinite().all() and z_0.video.isfinite().all()):
            raise UserError(
                "the run left the range of numbers: ask for more steps or smaller scales"
            )
        count = self.config.candidates
        if count == 1:
            return Selection(self.generation, z_0)
        generation, kept, logits = self.generation.best(self._prompts, z_0, count)
        return Selection(generation, kept, logits.tolist())

    @property
    def _prompts(self) -> AV[list[str]]:
        return self.config.captions.map(lambda one: [one] * len(self.config.seeds))


@dataclass(frozen=True)
class Selection:
    """Latents of the clips that are kept, one per sample.

    Attributes:
        generation: Run that decodes them.
        z_0: The latents.
        logits: The discriminator's logit of every candidate of each sample, where there was a
            choice.
    """

    generation: "GenerationRun"
    z_0: "AV[Tensor]"
    logits: list[list[float]] | None = None

    def clips(self) -> list[AudioVideo]:
        """Decode the latents, with a warning where a sound is attenuated.

        Raises:
            UserError: A decoder produced values that are not finite.
        """
        try:
            clips = self.generation.clips(self.z_0)
        except NotFiniteError as error:
            raise UserError(
                f"{error}: ask for --dtype float32 or bfloat16, since decoders overflow in float16"
            ) from error
        return [AudioVideo(_audible(clip.audio), clip.video) for clip in clips]


def prepare(config: GenerateConfig, system: JointSystem) -> PreparedGeneration:
    """Read the given file and load the weights.

    Args:
        config: A resolved request.
        system: The system it was resolved for.

    Raises:
        UserError: A file is missing, damaged or cannot be used.
    """
    from mmdisco.generation.pipeline import GenerationRun

    task = _task(config, system.form)
    generation = GenerationRun(
        model=system.model(config.seeds),
        discriminator=system.discriminator() if config.discriminates else _unguided(),
        settings=sampler_config(config, system),
        task=task,
        seconds=float(system.form.seconds),
        negative=config.negatives,
        method=_method(config, system),
    )
    return PreparedGeneration(config, generation, system.lossy)


def _method(config: GenerateConfig, system: JointSystem) -> "GuidanceOrder":
    if config.modality_scale is None:
        return system.method
    from mmdisco.generation.presets.stock_joint import OwnGuidance

    return OwnGuidance(config.modality_scale)


def _unguided() -> "Discriminator":
    from mmdisco.discriminators.wrappers import ZeroLogit

    return ZeroLogit()


def sampler_config(config: GenerateConfig, system: JointSystem) -> "SamplerConfig":
    """Build the settings of a resolved request; a modality without a scale is not guided.

    Raises:
        UserError: Guidance is distilled, and there is no such network of this discriminator.
    """
    from mmdisco.core.guidance import ClassifierFreeGuidance

    asked = config.for_cfg
    cfg = (
        partial(ClassifierFreeGuidance, **asked) if any(asked.values()) else ClassifierFreeGuidance
    )
    defaults = system.sampling()
    chosen = replace(
        defaults,
        steps=config.steps or defaults.steps,
        scheduler=config.scheduler or defaults.scheduler,
        cfg_scale=AV(_or(config.cfg_scale_audio, 1.0), _or(config.cfg_scale_video, 1.0)),
        joint_scale=AV(_or(config.joint_scale_audio, 0.0), _or(config.joint_scale_video, 0.0)),
        joint_min_logsnr=config.joint_min_logsnr,
        joint_max_logsnr=config.joint_max_logsnr,
        joint_every=config.joint_every or 1,
    )
    settings = replace(chosen.settings, classifier_free=cfg, resamples=config.resample)
    if config.smc_every is not None:
        from mmdisco.generation.particles import SequentialMonteCarlo

        settings = replace(settings, smc=SequentialMonteCarlo(config.candidates, config.smc_every))
    if config.guidance != "distilled":
        return settings
    from mmdisco.discriminators.distilled import DistilledGradient, DistilledGuidance

    own = system.weight_hashes()["discriminator"]
    network = DistilledGuidance.load(system.distilled_folder(), own).network
    source = DistilledGradient(network.to(config.torch_device()))
    return replace(settings, reuse=replace(settings.reuse, source=source))


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _task(config: GenerateConfig, form: ClipSpec) -> "Task":
    from mmdisco.generation.pipeline import AudioToVideo, JointGeneration, VideoToAudio

    if config.given is None:
        return JointGeneration()
    from mmdisco.media.conditioning_clip import read_conditioning_audio, read_conditioning_video

    count = len(config.seeds)
    if config.video is not None:
        seen, shown = read_conditioning_video(config.video, form, start=config.start)
        return VideoToAudio([seen] * count, [shown] * count)
    heard, played = read_conditioning_audio(config.given, form, config.start, config.audio_track)
    return AudioToVideo([heard] * count, [played] * count)


def _audible(audio: Audio) -> Audio:
    from mmdisco.media.clip import bring_down

    quieter = bring_down(audio)
    if quieter is not audio:
        peak = float(np.abs(audio.waveform).max())
        warnings.warn(
            f"the sound has a peak of {peak:.3g}, more than files hold: brought down",
            stacklevel=3,
        )
    return quieter
