"""Guider of two models: ComfyUI's ``CFGGuider`` of either, run one inside the other.

Either guider prepares its own model as if it were alone (weights, hooks, conditionings, latent
format, mask) and then calls its sampler. That of the sound prepares the video, and that of the
video calls the sampler that the user chose, once, with both latents packed into one.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import comfy.model_sampling
import comfy.samplers
import torch
from comfy.nested_tensor import NestedTensor
from torch import Tensor
from typing_extensions import override

from mmdisco.core.av import AV, each
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.guidance import IntervalScale, JointScale
from mmdisco.core.log_ratio import ReuseEvery
from mmdisco.discriminators.embeddings import mean_over_tokens
from mmdisco.errors import UserError
from mmdisco.generation.correction import correction
from mmdisco.generation.joint_x0 import (
    ExplodingSigma,
    FlowSigma,
    JointX0,
    SigmaUnits,
    agreement,
)

from .nested import VideoScaled, pack, unbound, unbound_mask, unpack

NAME = "this pair of models"
Conds = tuple[Any, Any]
"""Positive and negative CONDITIONING."""


@dataclass(frozen=True)
class SideGuidance:
    """Guidance of one modality.

    Attributes:
        joint_scale: Scale s of the discriminator's gradient.
        cfg: Scale of classifier-free guidance.
        start: Share of the video's schedule at which joint guidance begins.
        stop: Share at which it ends.
    """

    joint_scale: float = 1.0
    cfg: float = 5.0
    start: float = 0.0
    stop: float = 1.0


class JointGuider(comfy.samplers.CFGGuider):
    """``CFGGuider`` of the video's model, which samples the sound's along with it.

    Args:
        models: MODEL of either side.
        conds: CONDITIONINGs of either side.
        guidance: Guidance of either side.
        discriminator: Log ratio of real pairs against the models' own; without one there is no
            joint guidance.
        every: Evaluations per run of the discriminator.
    """

    def __init__(
        self,
        models: AV[Any],
        conds: AV[Conds],
        guidance: AV[SideGuidance],
        discriminator: Discriminator | None = None,
        every: int = 1,
    ) -> None:
        clones = models.map(lambda model: model.clone())
        # ComfyUI then loads both for a run, and neither has to give way to the other
        clones.video.set_additional_models("mmdisco", [clones.audio])
        super().__init__(clones.video)
        self.audio = comfy.samplers.CFGGuider(clones.audio)
        self.set_conds(*conds.video)
        self.audio.set_conds(*conds.audio)
        self.set_cfg(guidance.video.cfg)
        self.audio.set_cfg(guidance.audio.cfg)
        self.guidance = guidance
        self.discriminator = discriminator
        self.reuse = ReuseEvery(every)
        self.captions = conds.map(lambda both: caption(both[0]))

    @property
    def models(self) -> AV[Any]:
        """MODEL of either side."""
        return AV(self.audio.model_patcher, self.model_patcher)

    @override
    def sample(
        self,
        noise: Any,
        latent_image: Any,
        sampler: Any,
        sigmas: Tensor,
        denoise_mask: Any = None,
        callback: Callable[..., Any] | None = None,
        disable_pbar: bool = False,
        seed: int | None = None,
    ) -> Any:
        """Sample both; arguments as of ``CFGGuider``, with nested latents of video and sound.

        Raises:
            UserError: The latent is of one modality, both are given, or the sampler or the
                discriminator does not fit the pair.
        """
        if len(sigmas) == 0:
            return latent_image
        latents = unbound(latent_image)
        masks = AV(None, denoise_mask) if denoise_mask is None else unbound_mask(denoise_mask)
        units = self.models.map(units_of)
        _, own_sigmas = units.video.to(units.audio, sigmas, sigmas)
        run = _JointRun(self, units, sampler, callback, disable_pbar)
        noises = unbound(noise)

        def with_sound(sound: _Prepared) -> Tensor:
            run.sound = sound
            run.shown = comfy.samplers.CFGGuider.sample(
                self, noises.video, latents.video, _Within(run.with_both), sigmas, masks.video,
                None, disable_pbar, seed,
            )  # fmt: skip
            return run.heard

        with released(self, self.audio), on_device(self.discriminator, self.model_patcher):
            heard = self.audio.sample(
                noises.audio, latents.audio, _Within(with_sound), own_sigmas, masks.audio,
                None, disable_pbar, seed,
            )  # fmt: skip
        made = each(
            lambda own, given, latent: own if given is None else latent.to(own),
            AV(heard, run.shown),
            run.given,
            latents,
        )
        return NestedTensor([made.video, made.audio])

    def scale(self, side: SideGuidance) -> JointScale:
        """Return the scale s by noise level, on the interval of the video's schedule."""
        sampling = self.model_patcher.get_model_object("model_sampling")
        ends = torch.tensor([float(sampling.percent_to_sigma(x)) for x in (side.start, side.stop)])
        low, high = units_of(self.model_patcher).level(ends).log_snr.tolist()
        return IntervalScale(side.joint_scale, low, high)

    def logits(self, samples: Any) -> Tensor:
        """Return the logit of each clean pair (b,): how much its sound and video belong together.

        Raises:
            UserError: There is no discriminator, or it is for other latents.
        """
        if self.discriminator is None:
            raise UserError("no discriminator to score with: connect one to Joint Guider")
        x_0 = each(
            lambda model, x: model.get_model_object("process_latent_in")(x.float()),
            self.models,
            unbound(samples),
        )
        captions = self.captions.map(lambda text: text.expand(len(x_0.audio), -1))
        with on_device(self.discriminator, self.model_patcher):
            return agreement(self.discriminator, x_0, captions, NAME).cpu()


@dataclass(frozen=True)
class _Prepared:
    """Arguments with which a guider calls its sampler, its model being ready."""

    guider: Any
    sigmas: Tensor
    extra_args: dict[str, Any]
    noise: Tensor
    latent: Tensor
    mask: Tensor | None

    def predict(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return the guided x̂_0."""
        device = self.noise.device
        options, seed = self.extra_args["model_options"], self.extra_args.get("seed")
        return self.guider(x.to(device), sigma.to(device), model_options=options, seed=seed)

    @property
    def given(self) -> Tensor | None:
        """The clean latent, if the mask keeps all of it."""
        return None if self.mask is None or self.mask.any() else self.latent

    @property
    def full_mask(self) -> Tensor:
        return torch.ones_like(self.latent) if self.mask is None else self.mask


class _Within(comfy.samplers.Sampler):
    """Sampler of one guider that hands over to what ``run`` does with it."""

    def __init__(self, run: Callable[[_Prepared], Tensor]) -> None:
        self._run = run

    @override
    def sample(
        self,
        model_wrap: Any,
        sigmas: Tensor,
        extra_args: dict[str, Any],
        callback: Any,
        noise: Tensor,
        latent_image: Tensor,
        denoise_mask: Tensor | None = None,
        disable_pbar: bool = False,
    ) -> Tensor:
        return self._run(
            _Prepared(model_wrap, sigmas, extra_args, noise, latent_image, denoise_mask)
        )


class _JointRun:
    """One run of both models.

    Attributes:
        sound: The sound's model, once it is ready.
        heard: Sampled latent of the sound, in its model's scale.
        shown: Sampled latent of the video, as its guider returns it.
        given: Clean latents of the given side.
    """

    given: AV[Tensor | None]
    sound: _Prepared
    heard: Tensor
    shown: Tensor

    def __init__(
        self,
        guider: JointGuider,
        units: AV[SigmaUnits],
        sampler: Any,
        callback: Callable[..., Any] | None,
        disable_pbar: bool,  # noqa: FBT001
    ) -> None:
        self._guider, self._units, self._sampler = guider, units, sampler
        self._callback, self._disable_pbar = callback, disable_pbar

    def with_both(self, video: _Prepared) -> Tensor:
        """Run the user's sampler on both latents, packed; return the video's part."""
        both = AV(self.sound, video)
        self.given = both.map(lambda one: one.given)
        x_0 = JointX0(
            both.map(lambda one: one.predict),
            self._units,
            self._correction(both),
            self.given,
        )
        masked = both.audio.mask is not None or both.video.mask is not None
        mask = pack(both.map(lambda one: one.full_mask)) if masked else None
        shapes = both.map(lambda one: one.latent.shape)
        sampled = self._sampler.sample(
            _JointModel(video, x_0, shapes), video.sigmas, dict(video.extra_args),
            self._nested(shapes, self._callback), pack(both.map(lambda one: one.noise)),
            pack(both.map(lambda one: one.latent)), mask, self._disable_pbar,
        )  # fmt: skip
        made = unpack(sampled, shapes)
        self.heard = made.audio.to(self.sound.noise.device)
        return made.video

    def _correction(self, both: AV[_Prepared]) -> Any:
        guider, count = self._guider, len(both.video.latent)
        return correction(
            guider.discriminator,
            guider.guidance.map(guider.scale),
            lambda: guider.captions.map(lambda text: text.expand(count, -1)),
            both.map(lambda one: one.latent.shape[1:]),
            guider.reuse.begin(),
            NAME,
        )

    def _nested(self, shapes: AV[torch.Size], callback: Any) -> Any:
        """Return a callback for packed latents that hands on nested ones."""
        if callback is None:
            return None
        out = self.sound.guider.inner_model.process_latent_out

        def nested(step: int, x0: Tensor, x: Tensor, total_steps: int) -> Any:
            clean, noisy = unpack(x0, shapes), unpack(x, shapes)
            shown = VideoScaled([clean.video, out(clean.audio.float())])
            return callback(step, shown, NestedTensor([noisy.video, noisy.audio]), total_steps)

        return nested


class _JointModel:
    """Both models, as the one that a sampler calls; all else is that of the video's guider."""

    def __init__(self, video: _Prepared, x_0: JointX0, shapes: AV[torch.Size]) -> None:
        self._video, self._x_0, self._shapes = video, x_0, shapes
        self._hooks = _post_cfg(video.extra_args["model_options"])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._video.guider, name)

    def __call__(
        self,
        x: Tensor,
        sigma: Tensor,
        model_options: Mapping[str, Any] | None = None,
        seed: int | None = None,
    ) -> Tensor:
        if _post_cfg(model_options or {}) > self._hooks:
            raise UserError(
                "this sampler needs the prediction without a prompt (CFG++), which a pair of "
                "models does not have as one: choose the sampler of the same name without cfg_pp"
            )
        return pack(self._x_0(unpack(x, self._shapes), sigma))


def _post_cfg(model_options: Mapping[str, Any]) -> int:
    return len(model_options.get("sampler_post_cfg_function", ()))


def units_of(model: Any) -> SigmaUnits:
    """Return the units of a MODEL's σ.

    Raises:
        UserError: It scales its noise.
    """
    sampling = model.get_model_object("model_sampling")
    if not isinstance(sampling, comfy.model_sampling.CONST):
        return ExplodingSigma(float(sampling.sigma_max))
    if getattr(sampling, "noise_scale", 1.0) != 1.0:
        raise UserError("a flow model with scaled noise cannot be paired: choose another one")
    return FlowSigma(float(sampling.sigma_max))


def caption(conditioning: Any) -> Tensor:
    """Return the vector (1, d) that a discriminator reads of a CONDITIONING.

    It is the mean over the tokens of its first entry, as in training on pipelines of diffusers.
    """
    states, values = conditioning[0]
    mask = values.get("attention_mask")
    if mask is not None:
        mask = mask.clone() if mask.shape == states.shape[:2] else None
    with torch.inference_mode(mode=False):
        return mean_over_tokens(states.clone(), mask)[:1]


@contextmanager
def released(*guiders: Any) -> Generator[None]:
    """Forget loaded models and conditionings at the end, also after an error."""
    try:
        yield
    finally:
        for guider in guiders:
            for name in ("inner_model", "loaded_models", "conds"):
                vars(guider).pop(name, None)


@contextmanager
def on_device(discriminator: Discriminator | None, model: Any) -> Generator[None]:
    """Hold a discriminator on the device of a model; back on the CPU at the end."""
    if discriminator is None:
        yield
        return
    try:
        # moved inside ComfyUI's inference mode, its weights would admit no gradient
        with torch.inference_mode(mode=False):
            discriminator.to(model.load_device)
        yield
    finally:
        with torch.inference_mode(mode=False):
            discriminator.to("cpu")
