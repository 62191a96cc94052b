"""Trains the autoencoders of the embedded pair on frames and spectrograms of the data.

Run by ``run.py``; alone: ``python recipes/embedded/train_autoencoders.py video --out DIR``.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from fit import Schedule, fit, progress
from torch import Generator, Tensor
from torch.nn.functional import pixel_unshuffle

from mmdisco.embedded.autoencoders import (
    SQUARE,
    Standardised,
    build_audio_autoencoder,
    build_video_autoencoder,
)
from mmdisco.files import write_tensors
from mmdisco.mel import MelScale
from mmdisco.objects.dataset import example

CLIPS = 3000
KL_WEIGHT = 2e-4  # keeps latents smooth and near unit size; more costs sharpness
# the thing that sounds covers a tenth of a frame, and its colour is what matters
FOREGROUND = 4.0

SCHEDULES = {
    "video": Schedule(steps=2000, learning_rate=2e-3, ema=0.995),
    "audio": Schedule(steps=3000, learning_rate=2e-3, ema=0.995),
}
BATCH = {"video": 32, "audio": 8}


def train(modality: str, seed: int, out: Path) -> None:
    """Train one autoencoder and write ``<modality>_autoencoder.safetensors``."""
    target = out / f"{modality}_autoencoder.safetensors"
    if target.exists():
        return
    torch.manual_seed(seed)
    network = BUILD[modality]()
    pool = POOL[modality](seed)
    batch = BATCH[modality]

    def loss_of(step: int, generator: Generator) -> Tensor:
        del step
        chosen = pool[torch.randint(len(pool), (batch,), generator=generator)]
        return reconstruction(network, as_images(chosen), generator)

    trained = fit(
        network,
        loss_of,
        replace(SCHEDULES[modality], seed=seed),
        out / f"{modality}_autoencoder_training.safetensors",
        f"{modality} autoencoder",
    )
    whole = Standardised(trained)
    with torch.no_grad():
        some = pool[:: max(1, len(pool) // 2000)]
        latents = torch.cat([whole.encode(as_images(part)) for part in some.split(64)])
    whole.mean = latents.mean((0, 2, 3))
    whole.deviation = latents.std((0, 2, 3))
    write_tensors(target, whole.state_dict(), {})


def reconstruction(network: AutoencoderKL, images: Tensor, generator: Generator) -> Tensor:
    """L1 and L2 between images and their reconstruction, and the posterior's divergence."""
    squares = pixel_unshuffle(images, SQUARE)
    posterior = network.encode(squares).latent_dist
    again = network.decode(posterior.sample(generator)).sample
    error = (again - squares).abs()
    usual = squares.mean(0, keepdim=True)
    weight = 1 + FOREGROUND * (squares - usual).abs()
    loss = (weight * (error + 2 * error.square())).mean()
    return loss + KL_WEIGHT * posterior.kl().mean() / posterior.mean[0].numel()


def as_images(pool: Tensor) -> Tensor:
    """Frames in [−1, 1] from bytes; spectrograms as they are."""
    return pool.float() / 127.5 - 1 if pool.dtype == torch.uint8 else pool


def frames(seed: int) -> Tensor:
    """Frames of the first clips of the data, uint8 (n, 3, 64, 64)."""
    clips = [
        np.round(example(seed, index).clip.video.frames * 255).astype(np.uint8)
        for index in progress(range(CLIPS), "frames for the video autoencoder")
    ]
    return torch.from_numpy(np.concatenate(clips)).movedim(3, 1)


def spectrograms(seed: int) -> Tensor:
    """Spectrograms of the first clips of the data, (n, 1, 128, 64)."""
    scale = MelScale()
    waveforms = [
        torch.from_numpy(example(seed, index).clip.audio.waveform)
        for index in progress(range(CLIPS), "sounds for the audio autoencoder")
    ]
    return torch.cat([scale.analyse(part) for part in torch.stack(waveforms).split(64)])


BUILD: dict[str, Callable[[], AutoencoderKL]] = {
    "video": build_video_autoencoder,
    "audio": build_audio_autoencoder,
}
POOL: dict[str, Callable[[int], Tensor]] = {"video": frames, "audio": spectrograms}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train an autoencoder of the embedded pair.")
    parser.add_argument("modality", choices=tuple(BUILD))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/embedded"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    train(options.modality, options.seed, options.out)
