"""Clips longer than the models know: overlapping windows, blended at every evaluation.

Each window is denoised by itself, joint guidance included, and where windows overlap the predicted
noises of both modalities are averaged (MultiDiffusion, Bar-Tal et al. 2023, along time). Sound and
video are cut at the same instants, so one clock holds for both.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from typing_extensions import override

from mmdisco.core.av import AV, each
from mmdisco.core.denoiser import Conditioning, JointDenoiser, JointModel
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.guidance import ClassifierFreeGuidance
from mmdisco.core.noise import NoiseLevel, broadcast_like
from mmdisco.core.sampler import Sampler
from mmdisco.errors import UserError
from mmdisco.generation.pipeline import GuidanceOrder, PromptGuidance, SamplerConfig
from mmdisco.io.shapes import Latent, Logit

_LEAST: Final = 1e-3  # weight of a window at its very ends, where no other may reach

Window = AV[slice]
"""Steps of either latent along time, axis 2."""


def overlapping_windows(total: AV[int], window: AV[int]) -> list[Window]:
    """Cut long latents into windows that overlap by about a half, the last one up to the end.

    Args:
        total: Steps of either long latent.
        window: Steps of either latent that the models know.

    Raises:
        UserError: The latents have no such windows that begin together in both modalities.
    """
    unit = math.gcd(window.audio, window.video)
    step = window.map(lambda steps: steps // unit)
    parts = total.video // step.video
    if parts < unit or total != step.map(lambda steps: steps * parts):
        raise UserError(
            f"latents of {total.audio} and {total.video} steps cannot be cut into windows of "
            f"{window.audio} and {window.video} that begin together: ask for another length"
        )
    hop = max(1, unit // 2)
    starts = sorted({*range(0, parts - unit, hop), parts - unit})
    return [
        each(lambda own, steps, at=at: slice(own * at, own * at + steps), step, window)
        for at in starts
    ]


@dataclass(frozen=True)
class WindowedDenoiser(JointDenoiser):
    """Joint denoiser of long latents, from one denoiser per window.

    Windows are run one after the other, so a longer clip needs hardly more memory.

    Attributes:
        denoisers: Denoiser of each window; one that caches belongs to its own window.
        windows: Windows that together cover the latents.
        one_scene_below: ln(α²/σ²) of the video up to which its predicted clean latents have the
            same mean over time in all windows, so that they settle on one scene.
    """

    denoisers: Sequence[JointDenoiser]
    windows: Sequence[Window]
    one_scene_below: float = -math.inf

    @override
    def predict_noise(
        self, z_t: AV[Tensor], level: AV[NoiseLevel], cond: AV[Conditioning]
    ) -> AV[Tensor]:
        parts = [
            denoiser.predict_noise(each(_cut, z_t, window), level, cond)
            for denoiser, window in zip(self.denoisers, self.windows, strict=True)
        ]
        eps = AV(
            _blend([part.audio for part in parts], [one.audio for one in self.windows]),
            _blend([part.video for part in parts], [one.video for one in self.windows]),
        )
        if level.video.is_clean or float(level.video.log_snr.max()) > self.one_scene_below:
            return eps
        return AV(eps.audio, self._one_scene(z_t.video, eps.video, level.video))

    def _one_scene(self, x_t: Latent, eps: Latent, level: NoiseLevel) -> Latent:
        """Move the predicted clean latents of each window to the mean of all."""
        windows = [one.video for one in self.windows]
        sigma = broadcast_like(level.sigma, eps)
        clean = x_t - sigma * eps  # α x̂_0, finite where α is 0
        parts = [_cut(clean, one) for one in windows]
        means = _blend([part.mean(2, keepdim=True).expand_as(part) for part in parts], windows)
        return eps - (clean.mean(2, keepdim=True) - means) / sigma


class WindowedDiscriminator(Discriminator):
    """Discriminator of long latents: the mean logit of their windows.

    Args:
        discriminator: Discriminator of one window.
        windows: Windows of the latents.
    """

    def __init__(self, discriminator: Discriminator, windows: Sequence[Window]) -> None:
        super().__init__()
        self.discriminator = discriminator
        self.windows = windows

    @override
    def forward(self, z_t: AV[Tensor], level: AV[NoiseLevel], text: AV[Tensor]) -> Logit:
        logits = [self.discriminator(each(_cut, z_t, one), level, text) for one in self.windows]
        return torch.stack(logits).mean(0)


@dataclass(frozen=True)
class InWindows(GuidanceOrder):
    """The order of shorter clips, in each window of longer ones.

    Attributes:
        order: Order in which models and guidance are combined in a window.
        windows: Windows of the latents.
        one_scene_below: As that of ``WindowedDenoiser``.
    """

    order: GuidanceOrder
    windows: Sequence[Window]
    one_scene_below: float = -math.inf

    @override
    def sampler(self, model: JointModel, settings: SamplerConfig) -> Sampler:
        return self.order.sampler(model, settings)

    @override
    def base(
        self,
        model: JointModel,
        null: AV[Conditioning],
        cfg_scale: AV[float],
        classifier_free: PromptGuidance = ClassifierFreeGuidance,
    ) -> JointDenoiser:
        base = self.order.base(model, null, cfg_scale, classifier_free)
        return self._windowed([base] * len(self.windows))

    @override
    def denoiser(
        self,
        model: JointModel,
        discriminator: Discriminator,
        settings: SamplerConfig,
        null: AV[Conditioning],
    ) -> JointDenoiser:
        return self._windowed(
            [self.order.denoiser(model, discriminator, settings, null) for _ in self.windows]
        )

    @override
    def ranking(self, discriminator: Discriminator) -> Discriminator:
        return WindowedDiscriminator(discriminator, self.windows)

    def _windowed(self, denoisers: Sequence[JointDenoiser]) -> WindowedDenoiser:
        return WindowedDenoiser(denoisers, self.windows, self.one_scene_below)


def _cut(x: Tensor, window: slice) -> Tensor:
    return x[:, :, window]


def _blend(parts: Sequence[Tensor], windows: Sequence[slice]) -> Tensor:
    """Average the parts of a latent along time, with weights that fall to the ends of a window."""
    first = parts[0]
    steps = max(one.stop for one in windows)
    total = first.new_zeros(*first.shape[:2], steps, *first.shape[3:])
    weight = first.new_zeros(steps, *[1] * (first.ndim - 3))
    for part, window in zip(parts, windows, strict=True):
        place = (torch.arange(part.shape[2], dtype=part.dtype, device=part.device) + 0.5).view(
            -1, *[1] * (part.ndim - 3)
        )
        hann = (math.pi * place / part.shape[2]).sin().square() + _LEAST
        total[:, :, window] += hann * part
        weight[window] += hann
    return total / weight
