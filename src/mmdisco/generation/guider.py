"""Discriminator guidance as a guider of diffusers' modular pipelines.

A guider sees one pipeline alone, so the other modality is given: sound for a video, or video
for a sound. ``JointPipeline`` is for two pipelines that generate together.
"""

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import ClassifierFreeGuidance
from diffusers.configuration_utils import register_to_config
from torch import Tensor
from typing_extensions import override

from mmdisco.adapters.stock.schedulers import read_scheduler
from mmdisco.core.av import AV
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.guidance import guide
from mmdisco.core.log_ratio import log_ratio_gradient
from mmdisco.core.noise import NoiseLevel, broadcast_like
from mmdisco.errors import UserError
from mmdisco.io.shapes import Latent


@dataclass(frozen=True)
class GivenSide:
    """Clean latents of one modality, beside which the other is generated.

    Attributes:
        discriminator: Log ratio of the pair.
        x_0: Latents of the given modality: sounds (b, c, l) or (b, c, l, m), or videos (b, c, t, h,
            w). None in place of the generated one.
        text: Pooled captions of either side.

    Raises:
        UserError: Both modalities are given, or neither.
    """

    discriminator: Discriminator
    x_0: AV[Latent | None]
    text: AV[Tensor]

    def __post_init__(self) -> None:
        if (self.x_0.audio is None) == (self.x_0.video is None):
            raise UserError("give latents of one modality, and None in place of the generated one")

    def gradient(self, x_t: Latent, level: NoiseLevel) -> Latent:
        """Return ∇h with respect to the noisy latent of the other modality."""
        clean = NoiseLevel.clean(len(x_t))
        z_t = self.x_0.map(lambda given: x_t if given is None else given)
        levels = self.x_0.map(lambda given: level if given is None else clean)
        found = log_ratio_gradient(lambda z: self.discriminator(z, levels, self.text), z_t).gradient
        return found.audio if self.x_0.audio is None else found.video


class DiscriminatorGuidance(ClassifierFreeGuidance):
    """Classifier-free guidance, and ε̂ − s σ ∇h in the pipeline's own parameterization.

    The numbers are saved with the guider; the network and the given side are not:
    ``guider.attach(pipe.scheduler, GivenSide(…))`` before a run. Latents must be in the core's
    layout, as those of Wan are.

    Args:
        guidance_scale: Scale w of classifier-free guidance; 1 is off.
        joint_scale: Scale s of the discriminator's gradient; 0 is classifier-free guidance alone.
        guidance_rescale: As of ``ClassifierFreeGuidance``.
        use_original_formulation: As of ``ClassifierFreeGuidance``.
        start: Share of the steps at which both kinds of guidance begin.
        stop: Share of the steps at which both end.
        enabled: Whether there is any guidance.
    """

    @register_to_config
    def __init__(
        self,
        guidance_scale: float = 5.0,
        joint_scale: float = 1.0,
        guidance_rescale: float = 0.0,
        use_original_formulation: bool = False,  # noqa: FBT001, FBT002
        start: float = 0.0,
        stop: float = 1.0,
        enabled: bool = True,  # noqa: FBT001, FBT002
    ) -> None:
        super().__init__(
            guidance_scale, guidance_rescale, use_original_formulation, start, stop, enabled
        )
        self.joint_scale = joint_scale
        self._attached: tuple[Any, GivenSide] | None = None
        self._sample: Tensor | None = None

    def attach(self, scheduler: Any, given: GivenSide) -> "DiscriminatorGuidance":
        """Set the scheduler of the pipeline and the given side; return the guider.

        Raises:
            UserError: The scheduler is of no known kind.
        """
        self._attached = read_scheduler(scheduler), given
        return self

    @override
    def prepare_inputs_from_block_state(self, data: Any, input_fields: Any) -> list[Any]:
        self._sample = data.latents
        return super().prepare_inputs_from_block_state(data, input_fields)

    @override
    def forward(self, pred_cond: Tensor, pred_uncond: Tensor | None = None) -> Any:
        """Return the guided prediction.

        Raises:
            UserError: Nothing is attached, or the pipeline gives its guider no latents.
        """
        out: Any = super().forward(pred_cond, pred_uncond)
        if self.joint_scale and self._is_inside():
            out.pred = out.pred + self._change().to(out.pred)
        return out

    def _is_inside(self) -> bool:
        steps: int = self._num_inference_steps or 1
        first, last = int(self._start * steps), int(self._stop * steps)
        return self._enabled and first <= (self._step or 0) < max(last, first + 1)

    def _change(self) -> Tensor:
        if self._attached is None:
            raise UserError("nothing to guide with: attach a scheduler and a given side first")
        if self._sample is None:
            raise UserError(
                "this pipeline shows its guider no latents: take a modular one, or JointPipeline"
            )
        levels, given = self._attached
        x_t = self._sample.float()
        t = torch.as_tensor(self._timestep).double().cpu().reshape(1).expand(len(x_t))
        level = levels.schedule.level(t)
        scale = torch.full_like(level.sigma, self.joint_scale)
        change = guide(torch.zeros_like(x_t), given.gradient(x_t, level), level, scale)
        return broadcast_like(levels.prediction.gain(level), change) * change
