"""Lengths and sizes of the latents of ComfyUI's autoencoders, and encoded sounds."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmdisco.errors import UserError
from mmdisco.media.clip import Audio
from mmdisco.media.read import resampled


def ratios(vae: Any) -> tuple[Any, int, int]:
    """Return a video autoencoder's frames per latent step, and its pixels per row and column.

    Raises:
        UserError: It encodes single pictures.
    """
    found = vae.downscale_ratio
    if not isinstance(found, tuple):
        raise UserError("this autoencoder is for single pictures: take that of the video's model")
    return found


def latent_frames(vae: Any, frames: int) -> int:
    """Return the steps of the latents of so many frames, at least 1."""
    ratio = ratios(vae)[0]
    return max(1, frames // ratio if isinstance(ratio, int) else int(ratio(frames)))


def frames_of(vae: Any, steps: int) -> int:
    """Return the frames that so many steps of latents decode to."""
    ratio = vae.upscale_ratio[0]
    return steps * ratio if isinstance(ratio, int) else int(ratio(steps))


def video_latent_size(vae: Any, frames: int, height: int, width: int) -> tuple[int, int, int]:
    """Return steps, height and width of a video's latents.

    Raises:
        UserError: The autoencoder cannot make just so many frames of this size.
    """
    steps = latent_frames(vae, frames)
    if frames_of(vae, steps) != frames:
        near = [frames_of(vae, n) for n in (steps, steps + 1)]
        raise UserError(
            f"{frames} frames: this autoencoder makes {near[0]} or {near[1]}; Match Lengths rounds"
        )
    _, rows, columns = ratios(vae)
    if height % rows or width % columns:
        raise UserError(
            f"frames of {width} x {height} pixels: give multiples of {columns} and {rows}"
        )
    return steps, height // rows, width // columns


def rate_of(vae: Any) -> int:
    """Return the sampling rate of a sound autoencoder, as ComfyUI reads it."""
    return int(getattr(vae, "audio_sample_rate", 44100))


def encode_sound(vae: Any, audio: dict[str, Any] | None, seconds: float) -> Tensor:
    """Encode a sound that is cut, or padded with silence, to a length.

    Raises:
        UserError: There is no sound.
    """
    if audio is None or not audio["waveform"].numel():
        raise UserError("there is no sound: the video has no audio track")
    rate, own = rate_of(vae), int(audio["sample_rate"])
    waveform = audio["waveform"][:1].float().cpu()
    if own != rate:
        tracks = [resampled(Audio(np.asarray(one), own), rate).waveform for one in waveform[0]]
        waveform = torch.from_numpy(np.stack(tracks))[None]
    samples = max(1, round(seconds * rate))
    waveform = torch.nn.functional.pad(
        waveform[..., :samples], (0, max(0, samples - waveform.shape[-1]))
    )
    return vae.encode(waveform.movedim(1, -1))
