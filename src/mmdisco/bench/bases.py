"""The denoisers of the pre-trained models alone, with random weights.

Each calls its network as the model's adapter does. Autoencoders and text encoders take no part in a
step, so they are not made, and the adapters, which hold them, are not used.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DConditionModel, UNetMotionModel
from torch import Tensor, nn

from mmdisco.adapters.auffusion.padding import COLUMNS, SilencePadding
from mmdisco.adapters.parameterisation import Parameterisation
from mmdisco.adapters.videocrafter2.schedule import training_schedule
from mmdisco.adapters.videocrafter2.unet import UNet, UNetShape
from mmdisco.bench.networks import random_network
from mmdisco.bench.subject import Setting
from mmdisco.models import Conditioning, Denoiser
from mmdisco.prediction import Epsilon
from mmdisco.schedule import NoiseLevel, NoiseSchedule, scaled_linear
from mmdisco.shapes import Latent

FPS = 8.0

Call = Callable[[Tensor, Tensor, NoiseLevel, Conditioning], Tensor]


@dataclass(frozen=True)
class Base(Denoiser):
    """A network as a denoiser.

    Attributes:
        network: For its weights.
        call: From latent, timestep, level and captions to the network's noise.
        levels: The schedule.
        device: Where the network computes.
    """

    network: nn.Module
    call: Call
    levels: NoiseSchedule
    device: torch.device

    @property
    def schedule(self) -> NoiseSchedule:
        """That of the model."""
        return self.levels

    def predict_noise(self, x_t: Latent, level: NoiseLevel, cond: Conditioning) -> Latent:
        """ε̂, which with random weights says nothing."""

        def network(latent: Tensor, t: Tensor) -> Tensor:
            return self.call(latent, t, level, cond)

        trained = Parameterisation(self.levels, Epsilon())
        return trained.predict_noise(network, x_t, level, self.device)


def audioldm(config: Mapping[str, Any], setting: Setting) -> Base:
    """AudioLDM, as ``mmdisco.adapters.audioldm`` runs it."""
    unet = _diffusers(UNet2DConditionModel, config, setting)

    def call(latent: Tensor, t: Tensor, level: NoiseLevel, cond: Conditioning) -> Tensor:
        labels = cond.native[0].to(setting.device, setting.dtype)
        return unet(latent.to(setting.dtype), t, None, class_labels=labels).sample

    return Base(unet, call, scaled_linear(start=0.0015, end=0.0195), setting.device)


def animatediff(config: Mapping[str, Any], setting: Setting) -> Base:
    """AnimateDiff, as ``mmdisco.adapters.animatediff`` runs it."""
    unet = _diffusers(UNetMotionModel, config, setting)

    def call(latent: Tensor, t: Tensor, level: NoiseLevel, cond: Conditioning) -> Tensor:
        tokens = cond.native[0].to(setting.device, setting.dtype)
        each_frame = tokens.repeat_interleave(latent.shape[2], 0)
        return unet(latent.to(setting.dtype), t, each_frame).sample

    return Base(unet, call, scaled_linear(), setting.device)


def auffusion(config: Mapping[str, Any], setting: Setting, bins: int) -> Base:
    """Auffusion, as ``mmdisco.adapters.auffusion`` runs it: always on 10.24 s.

    Args:
        config: Of its U-Net.
        setting: What is measured with.
        bins: Of a latent.
    """
    unet = _diffusers(UNet2DConditionModel, config, setting)
    padding = SilencePadding.seeded(torch.zeros(int(config["in_channels"]), COLUMNS, bins))

    def call(latent: Tensor, t: Tensor, level: NoiseLevel, cond: Conditioning) -> Tensor:
        columns = latent.shape[2]
        whole = padding.extend(latent, level) if columns < COLUMNS else latent
        tokens = cond.native[0].to(setting.device, setting.dtype)
        noise = unet(whole.transpose(2, 3).to(setting.dtype), t, tokens).sample
        return noise.transpose(2, 3)[:, :, :columns]

    return Base(unet, call, scaled_linear(), setting.device)


def videocrafter2(shape: UNetShape, setting: Setting) -> Base:
    """VideoCrafter2, as ``mmdisco.adapters.videocrafter2`` runs it."""
    unet = random_network(lambda: UNet(shape), setting.device, setting.dtype, setting.seed)

    def call(latent: Tensor, t: Tensor, level: NoiseLevel, cond: Conditioning) -> Tensor:
        tokens = cond.native[0].to(setting.device, setting.dtype)
        return unet(latent.to(setting.dtype), t, torch.full_like(t, FPS), tokens)

    return Base(unet, call, training_schedule(), setting.device)


def _diffusers(kind: Any, config: Mapping[str, Any], setting: Setting) -> Any:
    def make() -> nn.Module:
        return kind.from_config(dict(config))

    return random_network(make, setting.device, setting.dtype, setting.seed)
