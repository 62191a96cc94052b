"""A system of one pipeline that makes video with sound (LTX-2), by a folder or an id on the hub."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

from typing_extensions import override

from mmdisco.adapters.stock.joint import LTX2, StockJointModel
from mmdisco.adapters.stock.model import prompts_of
from mmdisco.core.av import AV
from mmdisco.core.coupling import SameTimestep
from mmdisco.core.denoiser import Conditioning, JointDenoiser, JointModel
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
from mmdisco.generation.presets.stock_pair import fitted_video
from mmdisco.generation.system import (
    JointSystem,
    Requirements,
    SamplingDefaults,
    expect_own_discriminator,
)
from mmdisco.media.clip import ClipSpec

_FRAMES: Final = 121  # of a call that names no number
_OFF: Final = {"guidance_scale": 1.0, "stg_scale": 0.0, "modality_scale": 1.0}


def _of_both(scales: Mapping[str, float]) -> dict[str, float]:
    """Return scales of the video with the same ones for the sound."""
    return {**scales, **{f"audio_{name}": one for name, one in scales.items()}}


@dataclass(frozen=True)
class OwnGuidance(JointOutsideCFG):
    """Joint guidance around the pipeline's own: by the prompt, and by its contrast of modalities.

    Steps follow the timestep shift of the pipeline's own runs.

    Attributes:
        modality_scale: Scale of the contrast with a prediction without attention between sound and
            video (LTX-2's modality guidance); 1 is off.
    """

    modality_scale: float = 1.0

    @override
    def path(self, model: JointModel) -> SameTimestep:
        shift = _stock(model).shift
        return SameTimestep(model.schedules, AV(shift, shift))

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
                "a pipeline applies its own classifier-free guidance: leave --batch-cfg and "
                "--cfg-rescale out"
            )
        plain = _stock(model)
        own = {"guidance_scale": cfg_scale.video, "audio_guidance_scale": cfg_scale.audio}
        own |= _of_both({"modality_scale": self.modality_scale})
        (negative,) = prompts_of(null.video, [0])
        said = {"negative_prompt": negative} if negative else {}
        return replace(plain, call={**plain.call, **own, **said})


class StockJointSystem(JointSystem):
    """System of one pipeline of video with sound, loaded at the first use and kept.

    Args:
        options: Options the system is built with.
        loader: Makes the pipeline of its files.
    """

    def __init__(self, options: SystemConfig, loader: PipelineLoader | None = None) -> None:
        self._options = options
        self._loader = loader or WithWeights()

    @property
    @override
    def prompted(self) -> bool:
        return True

    @property
    @override
    def independent(self) -> bool:
        return False

    @property
    @override
    def two_levels(self) -> bool:
        return True

    @property
    def form(self) -> ClipSpec:
        """Format of the clips, which loads the pipeline; sound as its encoder reads it."""
        video = self._model.video
        size = (int(video.call["height"]), int(video.call["width"]))
        return ClipSpec(video.seconds, video.rate, size, self._model.pipe.audio_sampling_rate)

    @property
    @override
    def method(self) -> GuidanceOrder:
        return OwnGuidance()

    @override
    def outline(self) -> "StockJointSystem":
        return StockJointSystem(self._options, Outline())

    def sampling(self) -> SamplingDefaults:
        """Return the defaults: steps and guidance by the prompt of the pipeline's call."""
        names = ("num_inference_steps", "audio_guidance_scale", "guidance_scale")
        steps, audio, video = map(self._pipeline.default, names)
        scales = AV(float(audio or video), float(video))
        return SamplingDefaults(int(steps), "ddim", scales, AV(1.0, 1.0), 1.0, 1.0)

    def expect(self, demand: Requirements) -> list[str]:
        """Check that the pipeline is known, that its files are here, and a discriminator.

        Raises:
            UserError: It is none of video with sound, files are missing, or guidance is asked for
                without a discriminator.
        """
        expect_here([self._pipeline])
        kind = self._pipeline.folder.pipeline_class
        if not any(one.__name__ in LTX2.pipelines for one in kind.__mro__):
            raise UserError(
                f"--joint-model: {kind.__name__} is no pipeline of video with sound that is known: "
                f"name one of {', '.join(LTX2.pipelines)}"
            )
        expect_own_discriminator(self._options.title, demand)
        return []

    def model(self, seeds: Sequence[int] = ()) -> StockJointModel:
        """Load the pipeline; it draws no random numbers, so ``seeds`` has no effect."""
        return self._model

    def discriminator(self) -> Discriminator:
        """Refuse: nobody has published one.

        Raises:
            UserError: Always.
        """
        raise UserError(f"{self._options.title} has no published discriminator")

    @override
    def latent_rates(self) -> AV[float]:
        return self._model.steps_per_second

    @override
    def weight_hashes(self) -> Mapping[str, str]:
        return {"joint": self._pipeline.mark}

    @override
    def describe(self) -> Mapping[str, Mapping[str, str]]:
        return {"joint": self._pipeline.record}

    @cached_property
    def _pipeline(self) -> NamedPipeline:
        ref = named("joint", str(self._options.joint_model), self._options)
        return NamedPipeline(ref, self._options, self._options.title, self._loader)

    @cached_property
    def _model(self) -> StockJointModel:
        pipe, options = self._pipeline.load(), self._options
        if options.frames is None and options.seconds is None:
            options = options.updated({"frames": _FRAMES})
        call: Mapping[str, Any] = fitted_video(pipe, LTX2, options).call
        return StockJointModel(pipe, {**call, **_of_both(_OFF)})


def _stock(model: JointModel) -> StockJointModel:
    if not isinstance(model, StockJointModel):
        raise TypeError(f"{type(model).__name__} is no pipeline of video with sound")
    return model
