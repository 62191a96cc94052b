"""The folder of a pair: what its configuration says, and the networks that were trained."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from mmdisco.adapters.miniature import side_factor
from mmdisco.adapters.miniature.autoencoder import NormalizedVAE, build_autoencoder
from mmdisco.adapters.miniature.denoiser import DenoiserConfig
from mmdisco.core.av import AV
from mmdisco.io.files import sha256, write_json, write_tensors
from mmdisco.media.mel import MelScale
from mmdisco.training.bases.config import BasesConfig

BINS: Final = 64
COLUMNS: Final = 80  # of a spectrogram, per second; about, since a frame has a whole number
WINDOW: Final = 2.56  # length of an analysis window, in columns
HIGHEST: Final = 8000.0  # Hz

SAMPLING: Final[Mapping[str, Any]] = {
    "steps": 20,
    # a first-order solver with fresh noise bears scales at which multistep ones come apart
    "scheduler": "euler-ancestral",
    "cfg_scale": [1.5, 1.5],
    "joint_scale": [1.0, 1.0],
    "video_to_audio": 1.0,
    "audio_to_video": 1.0,
    # ln SNR; of twenty steps the first two and the last lie outside, where the gradient tells
    # nothing yet or changes nothing that is seen or heard
    "joint_min_logsnr": -7.0,
    "joint_max_logsnr": 3.0,
}
"""Settings that generation begins with: those of the embedded pair, except that joint scales are 1
until a discriminator is there to choose them with."""


def latent_shapes(config: BasesConfig) -> AV[torch.Size]:
    """Return the shapes of the latents of one clip, without the batch.

    Sound has a whole number of steps per frame, so that windows of longer clips begin together.
    """
    form, channels = config.form, config.latent_channels
    factors = _factors(config)
    steps = max(1, round(COLUMNS / (factors.audio * form.fps)))
    return AV(
        torch.Size([channels, steps * form.frames, BINS // factors.audio]),
        torch.Size([channels, form.frames, *(side // factors.video for side in form.size)]),
    )


def spectrogram_axes(config: BasesConfig) -> MelScale:
    """Return the axes of the spectrograms, with columns that cover a clip."""
    form = config.form
    columns = latent_shapes(config).audio[1] * _factors(config).audio
    hop = -(-round(form.seconds * form.sample_rate) // columns)
    n_fft = 32 * -(-round(WINDOW * hop) // 32)
    highest = min(HIGHEST, form.sample_rate / 2)
    return MelScale(form.sample_rate, hop, n_fft, BINS, highest=highest)


def denoiser_configs(config: BasesConfig) -> AV[DenoiserConfig]:
    """Return the shapes of the two denoisers."""
    sides = AV(config.audio_denoiser, config.video_denoiser)
    shapes = latent_shapes(config)

    def one(name: str) -> DenoiserConfig:
        side = getattr(sides, name)
        shape = tuple(getattr(shapes, name))
        return DenoiserConfig(shape, side.channels, side.width, side.layers)

    return AV(one("audio"), one("video"))


def new_autoencoders(config: BasesConfig) -> AV[NormalizedVAE]:
    """Build the two autoencoders, not trained."""
    widths = AV(config.audio_autoencoder.widths, config.video_autoencoder.widths)
    return AV(
        NormalizedVAE(build_autoencoder(1, widths.audio, config.latent_channels)),
        NormalizedVAE(build_autoencoder(3, widths.video, config.latent_channels)),
    )


def pair_record(config: BasesConfig, words: tuple[str, ...]) -> dict[str, Any]:
    """Return ``config.json`` of a pair, without the checksums."""
    denoisers = denoiser_configs(config)
    return {
        "fps": str(config.form.fps),
        "mel": asdict(spectrogram_axes(config)),
        "audio_autoencoder": list(config.audio_autoencoder.widths),
        "video_autoencoder": list(config.video_autoencoder.widths),
        "audio_denoiser": denoisers.audio.to_record(),
        "video_denoiser": denoisers.video.to_record(),
        "words": list(words),
        "sampling": dict(SAMPLING),
    }


def pack(
    networks: Mapping[str, Mapping[str, Tensor]],
    config: Mapping[str, Any],
    folder: Path,
    metadata: dict[str, str],
) -> None:
    """Write a folder: every network in half precision, then ``config.json`` with the checksums.

    Args:
        networks: Weights by name of the network.
        config: Contents of ``config.json`` except the checksums.
        folder: Folder to write.
        metadata: Metadata of every safetensors file.
    """
    sums: dict[str, str] = {}
    for name, weights in networks.items():
        target = folder / f"{name}.safetensors"
        write_tensors(target, {key: one.half() for key, one in weights.items()}, metadata)
        sums[name] = sha256(target)
    write_json(folder / "config.json", {**config, "sha256": sums})


def _factors(config: BasesConfig) -> AV[int]:
    widths = AV(config.audio_autoencoder.widths, config.video_autoencoder.widths)
    return widths.map(side_factor)
