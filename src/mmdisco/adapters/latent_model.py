"""Interfaces and common part of the base models on the latents of an autoencoder."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic

import torch
from torch import Tensor, nn
from typing_extensions import override

from mmdisco.core.denoiser import BaseModel, Conditioning, Medium
from mmdisco.core.noise import NoiseLevel, NoiseSchedule
from mmdisco.core.parameterization import Prediction
from mmdisco.io.shapes import Latent, PerSample


class Codec(ABC, Generic[Medium]):
    """Clips to the latents of a model and back.

    Clips are processed one at a time, so that a clip never depends on the others of its batch and
    memory suffices for one.
    """

    @abstractmethod
    def shape(self, seconds: float) -> torch.Size:
        """Return the shape of one clip's latent, without the batch.

        Raises:
            UserError: The model cannot make clips of this length.
        """

    @abstractmethod
    def encode(self, media: Sequence[Medium]) -> Latent:
        """Compute the mean of the autoencoder's posterior, scaled for the network; float32.

        Raises:
            UserError: A clip has another rate or size, a length that the model cannot make, or
                another length than the first.
        """

    @abstractmethod
    def decode(self, x_0: Latent) -> list[Medium]:
        """Decode clean latents to clips of the model's rates."""


class LatentModel(BaseModel[Medium]):
    """Frozen network on the latents of a codec; classifier-free guidance is applied outside.

    Args:
        unet: The network, on the device.
        codec: The codec of its latents.
        schedule: Noise levels of its training.
        prediction: The predicted quantity.
        device: Device of the network; latents and captions stay where the caller has them.
    """

    def __init__(
        self,
        unet: nn.Module,
        codec: Codec[Medium],
        schedule: NoiseSchedule,
        prediction: Prediction,
        device: torch.device,
    ) -> None:
        self._unet: Any = unet
        self._codec = codec
        self._schedule = schedule
        self._prediction = prediction
        self._device = device

    @abstractmethod
    def _run(
        self, x_t: Tensor, t: PerSample, level: NoiseLevel, embeds: tuple[Tensor, ...]
    ) -> Tensor:
        """Run the network, without gradients.

        Args:
            x_t: Latents on its device, float32.
            t: Its own timesteps, float32.
            level: Noise levels of the latents.
            embeds: Encoded captions, on its device and in its precision.
        """

    @property
    @override
    def schedule(self) -> NoiseSchedule:
        return self._schedule

    @override
    def predict_noise(self, x_t: Latent, level: NoiseLevel, cond: Conditioning) -> Latent:
        with torch.no_grad():
            t = level.t.to(device=self._device, dtype=torch.float32)
            output = self._run(x_t.to(self._device), t, level, tuple(map(self._place, cond.embeds)))
            return self._prediction.to_eps(output.to(x_t), x_t, level)

    @override
    def latent_shape(self, seconds: float) -> torch.Size:
        return self._codec.shape(seconds)

    @override
    def encode(self, media: Sequence[Medium]) -> Latent:
        return self._codec.encode(media)

    @override
    def decode(self, x_0: Latent) -> list[Medium]:
        return self._codec.decode(x_0)

    def _place(self, x: Tensor) -> Tensor:
        return x.to(self._device, self._unet.dtype if x.is_floating_point() else None)
