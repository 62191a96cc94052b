"""Videos to latents and back, frame by frame, as VideoCrafter2 has them.

One frame at a time: a frame depends on no other, and the memory of one is enough.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

from mmdisco.adapters.vae import whole_steps
from mmdisco.adapters.video_vae import VideoSpec
from mmdisco.adapters.videocrafter2.autoencoder import Autoencoder, sample_mean
from mmdisco.errors import UserError
from mmdisco.media.clip import Video
from mmdisco.shapes import VideoLatent

NAME: Final = "VideoCrafter2"
# the spread of the autoencoder's latents is brought to about 1
SCALE: Final = 0.18215


class VideoCrafter2Codec:
    """Videos ↔ (b, 4, f, height/8, width/8).

    Args:
        autoencoder: Frozen, where it is to compute.
        picture: Size and rate of the videos.
    """

    def __init__(self, autoencoder: Autoencoder, picture: VideoSpec) -> None:
        self._autoencoder = autoencoder
        self._picture = picture

    def shape(self, seconds: float) -> torch.Size:
        """(4, f, height/8, width/8).

        Raises:
            UserError: ``seconds`` is no whole number of frames, or too many.
        """
        frames = whole_steps(seconds, self._picture.fps, NAME, "frame")
        self._expect_few(frames)
        shape = self._autoencoder.shape
        sides = (self._picture.height // shape.factor, self._picture.width // shape.factor)
        return torch.Size([shape.latent, frames, *sides])

    def encode(self, media: Sequence[Video]) -> VideoLatent:
        """The mean latent of each frame.

        Raises:
            UserError: A video has another rate or size, too many frames, or another number of
                frames than the first.
        """
        self._expect_fitting(media)
        with torch.no_grad():
            return torch.stack([self._encode(video) for video in media])

    def decode(self, x_0: VideoLatent) -> list[Video]:
        """Videos of the picture's size and rate."""
        with torch.no_grad():
            return [self._decode(one) for one in x_0]

    def _encode(self, video: Video) -> Tensor:
        pictures = torch.from_numpy(video.frames).permute(0, 3, 1, 2) * 2 - 1
        moments = [self._autoencoder.encode(self._here(one)) for one in pictures.split(1)]
        return (sample_mean(torch.cat(moments)) * SCALE).float().cpu().transpose(0, 1)

    def _decode(self, latent: Tensor) -> Video:
        latents = (latent.transpose(0, 1) / SCALE).split(1)
        pictures = torch.cat([self._autoencoder.decode(self._here(one)) for one in latents])
        frames = (pictures.float() / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
        return Video(np.ascontiguousarray(frames.cpu().numpy()), self._picture.fps)

    def _here(self, x: Tensor) -> Tensor:
        return x.to(self._autoencoder.unpack.weight)

    def _expect_fitting(self, media: Sequence[Video]) -> None:
        size = (self._picture.width, self._picture.height)
        for video in media:
            frames, height, width, _ = video.frames.shape
            if video.fps != self._picture.fps or (width, height) != size:
                raise UserError(
                    f"video of {width}×{height} at {video.fps} fps: {NAME} is set to "
                    f"{size[0]}×{size[1]} at {self._picture.fps}; fit the video or the setting"
                )
            self._expect_few(frames)
            if frames != len(media[0].frames):
                raise UserError(
                    f"videos of {len(media[0].frames)} and {frames} frames: those of one batch "
                    "must be of one length"
                )

    def _expect_few(self, frames: int) -> None:
        most = self._picture.most_frames
        if most is not None and frames > most:
            raise UserError(
                f"{frames} frames: {NAME} is set to {most} at most; ask for fewer seconds"
            )
