"""The change of both pipelines' ε̂ at a pair of their latents: the discriminator's gradient."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.amp.autocast_mode import is_autocast_available
from typing_extensions import override

from mmdisco.core.av import AV, each
from mmdisco.core.denoiser import Conditioning, JointDenoiser
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.guidance import ConstantScale, JointGuidance, JointScale
from mmdisco.core.log_ratio import LogRatioGradient
from mmdisco.core.noise import NoiseLevel
from mmdisco.discriminators.hub import check_fitting
from mmdisco.discriminators.two_tower import AudioVideoConfig
from mmdisco.errors import UserError
from mmdisco.generation.meeting import Correction, SideState
from mmdisco.io.shapes import Text

_LEAST_SIGNAL: Final = 1e-3
"""α/σ below which a side is not guided: there ε̂ hardly determines x̂_0, or not at all."""

Scale = float | int | JointScale


def correction(
    discriminator: Discriminator | None,
    scale: Scale | AV[Scale],
    captions: Callable[[], AV[Text]],
    shapes: AV[torch.Size],
    gradient: LogRatioGradient,
    name: str,
) -> Correction:
    """Return the change −s σ ∇h of either side's ε̂ by their states.

    Args:
        discriminator: The discriminator; without one nothing is changed.
        scale: Scale s of its gradient, also one a side; where it is 0 nothing is changed.
        captions: Pooled captions of either side, which are read if there is a change.
        shapes: Shapes of one sample's latents, without the batch.
        gradient: Source of ∇h for one run.
        name: Name of the base models, for messages.

    Raises:
        UserError: The discriminator is for other latents or captions.
    """
    scales = (scale if isinstance(scale, AV) else AV(scale, scale)).map(_joint_scale)
    if discriminator is None or scales == AV(ConstantScale(0.0), ConstantScale(0.0)):
        return lambda states: AV(None, None)
    texts = read_captions(discriminator, shapes, captions(), name)
    device = next(discriminator.parameters(), torch.zeros(0)).device
    guidance = JointGuidance(_NoNoise(), discriminator, scales, gradient)
    return _Guidance(guidance, texts.map(lambda text: Conditioning(text.to(device))), device)


def read_captions(
    discriminator: Discriminator, shapes: AV[torch.Size], captions: AV[Text], name: str
) -> AV[Text]:
    """Return the captions that a discriminator reads: none if it was trained without.

    Raises:
        UserError: It is for other latents or captions.
    """
    config = getattr(discriminator, "config", None)
    if not isinstance(config, AudioVideoConfig):
        return captions
    widths = AV(config.audio.text_width, config.video.text_width)
    texts = each(lambda text, width: text if width else text[:, :0], captions, widths)
    check_fitting(config, shapes, texts.map(lambda text: text.shape[1]), name)
    return texts


@dataclass(frozen=True)
class _Guidance:
    """The change of ε̂ at a pair of states.

    Attributes:
        guidance: Joint guidance of ε̂ = 0.
        cond: Captions of either side, on the discriminator's device.
        device: The discriminator's.
    """

    guidance: JointGuidance
    cond: AV[Conditioning]
    device: torch.device

    def __call__(self, states: AV[SideState]) -> AV[Tensor | None]:
        sizes = states.map(lambda state: len(state.x_t))
        if sizes.audio != sizes.video:
            raise UserError(
                f"{sizes.video} videos and {sizes.audio} sounds: ask for as many of each"
            )
        kind = self.device.type if is_autocast_available(self.device.type) else "cpu"
        with torch.inference_mode(mode=False), torch.autocast(kind, enabled=False):
            # a copy is no inference tensor, so a gradient can be taken
            z_t = states.map(lambda state: state.x_t.to(self.device).float().clone())
            # levels stay on the CPU, where whether there is a scale at all is known at once
            level = states.map(lambda state: state.level.expand(sizes.audio))
            changes = self.guidance.predict_noise(z_t, level, self.cond)
        return each(_unless_without_signal, changes, states)


def _unless_without_signal(change: Tensor, state: SideState) -> Tensor | None:
    level = state.level
    guided = bool((level.alpha > _LEAST_SIGNAL * level.sigma).all()) and not level.is_clean
    return change if guided and change.any() else None


class _NoNoise(JointDenoiser):
    @override
    def predict_noise(
        self, z_t: AV[Tensor], level: AV[NoiseLevel], cond: AV[Conditioning]
    ) -> AV[Tensor]:
        return z_t.map(torch.zeros_like)


def _joint_scale(scale: Scale) -> JointScale:
    return scale if isinstance(scale, JointScale) else ConstantScale(float(scale))
