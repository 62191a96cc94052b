"""Videos to the latents of an image autoencoder and back, frame by frame."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from typing_extensions import override

from mmdisco.adapters.latent_model import Codec
from mmdisco.adapters.vae import ScaledAutoencoder, expect_one_length
from mmdisco.errors import UserError
from mmdisco.io.shapes import VideoLatent
from mmdisco.media.clip import Video

_SLACK: Final = 1e-6  # of a frame, for lengths in floating point


@dataclass(frozen=True)
class VideoSpec:
    """Format of the videos that a model is used for; networks themselves know no rate.

    Attributes:
        height: Height in pixels.
        width: Width in pixels.
        fps: Frames per second.
    """

    height: int
    width: int
    fps: Fraction = Fraction(8)


class VideoVAE(Codec[Video]):
    """Videos ↔ (b, c, f, h, w), h and w an eighth of the frames' with the usual autoencoder.

    Args:
        vae: Autoencoder of images in [−1, 1].
        picture: Format of the videos.
        device: Device of the autoencoder.
        model: Name of the model, for messages.
        unet_factor: Latent pixels per pixel of the denoiser's coarsest level, where they must
            divide.

    Raises:
        UserError: The size is no multiple of both factors, or the rate is not positive.
    """

    def __init__(
        self,
        vae: AutoencoderKL,
        picture: VideoSpec,
        device: torch.device,
        model: str,
        unet_factor: int = 1,
    ) -> None:
        self._autoencoder = ScaledAutoencoder(vae, device)
        self._picture = picture
        self._model = model
        sides = (picture.height, picture.width)
        multiple = self._autoencoder.factor * unet_factor
        if min(sides) < 1 or any(side % multiple for side in sides):
            raise UserError(
                f"a picture of {picture.width}×{picture.height}: {model} takes multiples of "
                f"{multiple}"
            )
        if picture.fps <= 0:
            raise UserError(f"{picture.fps} frames a second: give a rate above 0")

    @override
    def shape(self, seconds: float) -> torch.Size:
        frames = _whole_frames(seconds, self._picture.fps, self._model)
        sides = (self._picture.height, self._picture.width)
        own = (side // self._autoencoder.factor for side in sides)
        return torch.Size([self._autoencoder.channels, frames, *own])

    @override
    def encode(self, media: Sequence[Video]) -> VideoLatent:
        size = (self._picture.height, self._picture.width)
        for video in media:
            _, height, width, _ = video.frames.shape
            if video.fps != self._picture.fps or (height, width) != size:
                raise UserError(
                    f"video of {width}×{height} at {video.fps} fps: {self._model} is set to "
                    f"{size[1]}×{size[0]} at {self._picture.fps}; fit the video or the setting"
                )
            expect_one_length([len(video.frames) for video in media], "video", "frames")
        return torch.stack([self._encode(video) for video in media])

    @override
    def decode(self, x_0: VideoLatent) -> list[Video]:
        return [self._decode(one) for one in x_0]

    def _encode(self, video: Video) -> Tensor:
        # (f, h, w, 3) in [0, 1] -> (f, 3, h, w) in [−1, 1]
        images = 2 * torch.from_numpy(video.frames).permute(0, 3, 1, 2) - 1
        return self._autoencoder.encode(images).transpose(0, 1)

    def _decode(self, x_0: Tensor) -> Video:
        images = self._autoencoder.decode(x_0.transpose(0, 1)).float()
        frames = (images / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
        return Video(np.ascontiguousarray(frames.cpu().numpy()), self._picture.fps)


def _whole_frames(seconds: float, fps: Fraction, model: str) -> int:
    """Return the number of frames that last ``seconds``, or name the nearest lengths."""
    frames = seconds * float(fps)
    if math.isfinite(frames) and round(frames) >= 1 and abs(frames - round(frames)) < _SLACK:
        return round(frames)
    below = max(1, math.floor(frames)) if math.isfinite(frames) else 1
    near = sorted({below, below + 1 if frames > 1 else 1})
    lengths = " or ".join(f"{float(count / fps):g}" for count in near)
    raise UserError(
        f"{seconds:g} seconds: {model} makes whole frames of {float(1 / fps):g} s; "
        f"ask for {lengths}"
    )
