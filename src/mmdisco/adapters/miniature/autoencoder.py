"""Autoencoders of the miniature pair: media in the canonical layout ↔ latents.

Both are diffusers' ``AutoencoderKL``, as AudioLDM and AnimateDiff use it, small enough to run
at once on a laptop. Latents have mean 0 and standard deviation 1 in every channel over the
training clips. Independent of denoisers and captions.
"""

from typing import Any, cast

import torch
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from torch import FloatTensor, Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from mmdisco.adapters.miniature import SQUARE
from mmdisco.io.shapes import AudioLatent, Clips, Latent

LATENT_CHANNELS = 4
FRAMES_AT_ONCE = 64


def build_autoencoder(
    channels: int, widths: tuple[int, ...], latent_channels: int = LATENT_CHANNELS
) -> AutoencoderKL:
    """Build an autoencoder of images; each further entry of ``widths`` halves both axes.

    The network itself sees images after ``pixel_unshuffle``, as ``NormalizedVAE`` does it.

    Args:
        channels: Channels of the images: 3 of a frame, 1 of a spectrogram.
        widths: Channels of each level, multiples of 8.
        latent_channels: Channels of the latents.
    """
    levels = len(widths)
    # diffusers annotates all three as tuples of one
    blocks: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "block_out_channels": widths,
    }
    return AutoencoderKL(
        in_channels=channels * SQUARE**2,
        out_channels=channels * SQUARE**2,
        **blocks,
        layers_per_block=1,
        latent_channels=latent_channels,
        norm_num_groups=8,
        mid_block_add_attention=False,
    )


class NormalizedVAE(nn.Module):
    """Autoencoder with the mean and the standard deviation of each latent channel.

    Args:
        network: The autoencoder; its latents are the mode of its posterior.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: AutoencoderKL) -> None:
        super().__init__()
        self.network = network
        channels = int(network.config["latent_channels"])
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("deviation", torch.ones(channels))

    def encode(self, images: Tensor) -> Tensor:
        """Encode images (b, c, h, w) to standardised latents."""
        squares = pixel_unshuffle(images, SQUARE)
        mode = cast(AutoencoderKLOutput, self.network.encode(squares)).latent_dist.mode()
        return (mode - self.mean[:, None, None]) / self.deviation[:, None, None]

    def decode(self, latents: Tensor) -> Tensor:
        """Invert ``encode``."""
        raw = latents * self.deviation[:, None, None] + self.mean[:, None, None]
        decoded = cast(DecoderOutput, self.network.decode(cast(FloatTensor, raw)))
        return pixel_shuffle(decoded.sample, SQUARE)


def encode_frames(autoencoder: NormalizedVAE, frames: Clips) -> Latent:
    """Encode frames (b, f, h, w, 3) in [0, 1] to latents (b, c, f, h, w)."""
    images = frames.flatten(0, 1).movedim(3, 1) * 2 - 1
    parts = [autoencoder.encode(part) for part in images.split(FRAMES_AT_ONCE)]
    return torch.cat(parts).unflatten(0, frames.shape[:2]).transpose(1, 2)


def decode_frames(autoencoder: NormalizedVAE, latents: Latent) -> Clips:
    """Decode latents (b, c, f, h, w) to frames (b, f, h, w, 3) in [0, 1]."""
    flat = latents.transpose(1, 2).flatten(0, 1)
    images = torch.cat([autoencoder.decode(part) for part in flat.split(FRAMES_AT_ONCE)])
    frames = ((images + 1) / 2).clamp(0, 1).movedim(1, 3)
    return frames.unflatten(0, (latents.shape[0], latents.shape[2]))


def encode_mel(autoencoder: NormalizedVAE, mel: AudioLatent) -> Latent:
    """Encode log-mel spectrograms (b, 1, l, m) to latents (b, c, l/n, m/n), n its factor."""
    return autoencoder.encode(mel)


def decode_mel(autoencoder: NormalizedVAE, latents: Latent) -> AudioLatent:
    """Invert ``encode_mel``."""
    return autoencoder.decode(latents)
