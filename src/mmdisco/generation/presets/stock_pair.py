"""Systems of two pipelines of diffusers, each named by a folder or an id on the hub."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from inspect import signature
from typing import Any, Final

from typing_extensions import override

from mmdisco.adapters.stock.families import AUDIO, VIDEO, AudioFamily, VideoFamily
from mmdisco.adapters.stock.model import StockModel, prompts_of
from mmdisco.core.av import AV, each
from mmdisco.core.coupling import SameTimestep
from mmdisco.core.denoiser import Conditioning, IndependentModels, JointDenoiser, JointModel
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.guidance import ClassifierFreeGuidance
from mmdisco.errors import UserError
from mmdisco.generation.config import SystemConfig
from mmdisco.generation.pipeline import GuidanceOrder, JointOutsideCFG, PromptGuidance
from mmdisco.generation.presets.named_pipeline import (
    NamedPipeline,
    Outline,
    PipelineLoader,
    WithWeights,
    expect_here,
    named,
)
from mmdisco.generation.presets.registry import CheckpointRef
from mmdisco.generation.system import (
    JointSystem,
    Requirements,
    SamplingDefaults,
    expect_own_discriminator,
)
from mmdisco.media.clip import Audio, ClipSpec, Video

_SLACK: Final = Fraction(1, 10)  # of a frame, for lengths in decimals
_OFF: Final = 1.0  # scale of classifier-free guidance


@dataclass(frozen=True)
class PipelineGuidance(JointOutsideCFG):
    """Joint guidance around classifier-free guidance that is either pipeline's own.

    Steps follow the timestep shift of either scheduler.
    What a pipeline does without a prompt (Stable Audio's zeros, a guider, the experts of Wan 2.2)
    stays its own; the discriminator is run once a step.
    """

    @override
    def path(self, model: JointModel) -> SameTimestep:
        return SameTimestep(model.schedules, _stock(model).map(lambda one: one.levels.shift))

    @override
    def base(
        self,
        model: JointModel,
        null: AV[Conditioning],
        cfg_scale: AV[float],
        classifier_free: PromptGuidance = ClassifierFreeGuidance,
    ) -> JointDenoiser:
        if classifier_free is not ClassifierFreeGuidance:
            raise UserError(
                "two pipelines apply their own classifier-free guidance: leave --batch-cfg and "
                "--cfg-rescale out"
            )
        guided = each(_guided, _stock(model), cfg_scale, null)
        return IndependentModels(guided.audio, guided.video)


class StockSystem(JointSystem):
    """System of two pipelines, loaded at the first use and kept.

    Args:
        title: Name for messages.
        options: Options the system is built with.
        refs: Checkpoints of the pipelines; found by the names in ``options`` unless given.
        usual: Default settings; those of the pipelines' calls unless given.
        clips: Default format of the clips; that of the video pipeline's call unless given.
        loader: Makes the pipelines of their files.
    """

    def __init__(
        self,
        title: str,
        options: SystemConfig,
        refs: AV[CheckpointRef] | None = None,
        usual: SamplingDefaults | None = None,
        clips: ClipSpec | None = None,
        loader: PipelineLoader | None = None,
    ) -> None:
        self._title = title
        self._options = options
        self._given = refs
        self._usual = usual
        self._clips = clips
        self._loader = loader or WithWeights()

    @property
    @override
    def prompted(self) -> bool:
        return True

    @property
    @override
    def independent(self) -> bool:
        return True

    @property
    def form(self) -> ClipSpec:
        """Format of the clips, which loads the pipelines."""
        video = self.models.video
        size = (int(video.call["height"]), int(video.call["width"]))
        return ClipSpec(video.seconds, video.rate, size, int(self.models.audio.rate))

    @property
    @override
    def method(self) -> GuidanceOrder:
        return PipelineGuidance()

    @override
    def outline(self) -> "StockSystem":
        own = (self._title, self._options, self._given, self._usual, self._clips)
        return StockSystem(*own, Outline())

    def sampling(self) -> SamplingDefaults:
        """Return the defaults: steps of the video's call, and either call's own guidance."""
        if self._usual is not None:
            return self._usual
        steps = self._pipelines.video.default("num_inference_steps")
        scales = self._pipelines.map(_own_scale)
        return SamplingDefaults(steps or 50, "ddim", scales, AV(1.0, 1.0), 1.0, 1.0)

    def expect(self, demand: Requirements) -> list[str]:
        """Check that both pipelines can be guided, that their files are here, and a discriminator.

        Raises:
            UserError: One cannot, files are missing, or guidance is asked for without a
                discriminator.
        """
        both = self._pipelines
        expect_here([both.audio, both.video])
        both.audio.folder.family(AUDIO)
        both.video.folder.family(VIDEO)
        both.map(NamedPipeline.expect_promptable)
        expect_own_discriminator(self._title, demand)
        return []

    def model(self, seeds: Sequence[int] = ()) -> IndependentModels:
        """Load both pipelines; they draw no random numbers, so ``seeds`` has no effect."""
        return IndependentModels(self.models.audio, self.models.video)

    def discriminator(self) -> Discriminator:
        """Refuse: nobody has published one.

        Raises:
            UserError: Always.
        """
        raise UserError(f"{self._title} has no published discriminator")

    @override
    def latent_rates(self) -> AV[float]:
        return self.models.map(lambda one: float(one.steps_per_second))

    @override
    def weight_hashes(self) -> Mapping[str, str]:
        return {"audio": self._pipelines.audio.mark, "video": self._pipelines.video.mark}

    @override
    def describe(self) -> Mapping[str, Mapping[str, str]]:
        return {"audio": self._pipelines.audio.record, "video": self._pipelines.video.record}

    @cached_property
    def _pipelines(self) -> AV[NamedPipeline]:
        options, names = self._options, AV(self._options.audio_model, self._options.video_model)
        refs = self._given or each(
            lambda role, name: named(role, str(name), options), AV("audio", "video"), names
        )
        return refs.map(lambda ref: NamedPipeline(ref, options, self._title, self._loader))

    @cached_property
    def models(self) -> AV[StockModel[Any]]:
        """Both pipelines as base models without guidance, their calls set to the clips' format.

        Raises:
            UserError: A file is missing or damaged, or the format cannot be made.
        """
        both = self._pipelines
        expect_here([both.audio, both.video])
        families = each(lambda one, known: one.folder.family(known), both, AV(AUDIO, VIDEO))
        return fitted(both.map(NamedPipeline.load), families, self._options, self._clips)


def fitted(
    pipes: AV[Any],
    families: AV[Any],
    options: SystemConfig,
    usual: ClipSpec | None = None,
) -> AV[StockModel[Any]]:
    """Return two loaded pipelines as base models whose clips have one length.

    Args:
        pipes: The pipelines.
        families: Their families.
        options: Length, size and rate of the clips, where they are set.
        usual: Format of the clips for what is not set; that of the video pipeline's call otherwise.

    Raises:
        UserError: The video cannot have this size, or one of the two not this length.
    """
    video = fitted_video(pipes.video, families.video, options, usual)
    return AV(_audio(pipes.audio, families.audio, video), video)


def fitted_video(
    pipe: Any, family: VideoFamily, options: SystemConfig, usual: ClipSpec | None = None
) -> StockModel[Video]:
    """Return a loaded video pipeline as a base model whose clips have the format asked for.

    Args:
        pipe: The pipeline.
        family: Its family.
        options: As of ``fitted``.
        usual: As of ``fitted``.

    Raises:
        UserError: It cannot make this size or length.
    """
    call = _unguided(pipe)
    fps = options.fps
    if fps is not None and "frame_rate" in signature(type(pipe).__call__).parameters:
        call["frame_rate"] = int(fps) if fps.denominator == 1 else float(fps)
    elif fps is not None:
        family = replace(family, fps=_always(fps))
    size = options.size or (None if usual is None else usual.size)
    if size is not None:
        call |= {"height": size[0], "width": size[1]}
    model = StockModel[Video](pipe, family, call)
    name, rate = type(pipe).__name__, model.rate
    wanted = options.seconds if usual is None else options.seconds or usual.seconds
    asked = options.frames if wanted is None or options.frames is not None else wanted * rate
    if asked is None:
        try:
            asked = family.frames(pipe, model.sample_shape[1])
        except UserError as error:
            raise UserError(f"{error}; on the command line by --size and --frames") from error
    frames, every = round(asked), family.frames_per_step(pipe)
    below = (max(frames, 1) - 1) // every * every + 1
    if frames < 1 or abs(asked - frames) > _SLACK or frames != below:
        low = below if below < asked else max(below - every, 1)
        choices = " or ".join(
            f"--frames {one} ({float(one / rate):.6g} s)"
            for one in dict.fromkeys((low, low + every))
        )
        raise UserError(
            f"{float(asked / rate):g} s at {float(rate):g} frames a second: {name} makes whole "
            f"latent steps; ask for {choices}"
        )
    model = replace(model, call={**call, "num_frames": frames})
    height, width = (side * family.side(pipe) for side in model.sample_shape[2:])
    family.expect_possible(pipe, {"height": height, "width": width, **model.call})
    return replace(model, call={**model.call, "height": height, "width": width})


def _audio(pipe: Any, family: AudioFamily, video: StockModel[Video]) -> StockModel[Audio]:
    seconds = video.seconds
    call = {**_unguided(pipe), family.length: float(seconds)}
    model = StockModel[Audio](pipe, family, call)
    steps = family.fixed(pipe)
    longest = None if steps is None else steps / model.steps_per_second
    if longest is not None and seconds > longest:
        frames = video.lasting(longest)["num_frames"]
        raise UserError(
            f"{float(seconds):g} s: {type(pipe).__name__} makes {float(longest):.6g} s at most; "
            f"the nearest that both make is --frames {frames} ({float(frames / video.rate):.6g} s)"
        )
    return model


def _always(fps: Fraction) -> Callable[[Any], Fraction]:
    return lambda _pipe: fps


def _unguided(pipe: Any) -> dict[str, Any]:
    known = signature(type(pipe).__call__).parameters
    return {"guidance_scale": _OFF} if "guidance_scale" in known else {}


def _own_scale(pipeline: NamedPipeline) -> float:
    own = pipeline.default("guidance_scale")
    if isinstance(own, int | float):
        return float(own)
    return pipeline.folder.guidance_scale or _OFF


def _guided(model: StockModel[Any], scale: float, negative: Conditioning) -> StockModel[Any]:
    """Return a model with its pipeline's own classifier-free guidance.

    Args:
        model: The model without guidance.
        scale: Scale w; 1 is off.
        negative: The encoded negative prompt, batch size 1; "" is the pipeline's own.

    Raises:
        UserError: The pipeline has no such guidance, or takes no negative prompt.
    """
    name, known = type(model.pipe).__name__, model.arguments.keys()
    call, pipe = dict(model.call), model.pipe
    if "guidance_scale" in known:
        call["guidance_scale"] = scale
    elif getattr(pipe, "guider", None) is not None:
        pipe = copy.copy(pipe)
        vars(pipe)["guider"] = model.pipe.guider.new(guidance_scale=scale)
    elif scale != _OFF:
        raise UserError(f"{name} has no classifier-free guidance: ask for a scale of 1")
    (text,) = prompts_of(negative, [0])
    if text and "negative_prompt" not in known:
        raise UserError(f"{name} takes no negative prompt: leave it out")
    return replace(model, pipe=pipe, call=call | ({"negative_prompt": text} if text else {}))


def _stock(model: JointModel) -> AV[StockModel[Any]]:
    if not isinstance(model, IndependentModels):
        raise TypeError(f"{type(model).__name__} is no pair of pipelines")
    audio, video = model.audio, model.video
    if not (isinstance(audio, StockModel) and isinstance(video, StockModel)):
        raise TypeError(f"{type(audio).__name__} or {type(video).__name__} is no pipeline")
    return AV(audio, video)
