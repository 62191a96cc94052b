"""Trains the autoencoders of the embedded pair on frames and spectrograms of the data.

Run by ``run.py``; alone: ``python recipes/embedded/train_autoencoders.py video --out DIR``.
"""

import argparse
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from fit import Schedule, fit, progress
from torch import FloatTensor, Generator, Tensor, nn
from torch.nn.functional import pixel_unshuffle

from mmdisco.adapters.miniature.autoencoder import (
    SQUARE,
    NormalizedVAE,
    build_audio_autoencoder,
    build_video_autoencoder,
)
from mmdisco.io.files import write_tensors
from mmdisco.media.mel import MelScale
from mmdisco.media.sounding_objects.dataset import example

CLIPS = 3000
KL_WEIGHT = 2e-4  # keeps latents smooth and near unit size; more costs sharpness
MOST_NOISE = 0.5  # against latents of deviation 1
# the thing that sounds covers a tenth of a frame, and its colour is what matters
FOREGROUND = 4.0

SCHEDULES = {
    "video": Schedule(steps=3000, learning_rate=2e-3, ema=0.995),
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

    code = CODE[modality]

    def loss_of(step: int, generator: Generator) -> Tensor:
        del step
        chosen = pool[torch.randint(len(pool), (batch,), generator=generator)]
        squares = pixel_unshuffle(as_images(chosen), SQUARE)
        latents, price = code.sample(network, squares, generator)
        again = cast(DecoderOutput, network.decode(cast(FloatTensor, latents))).sample
        return reconstruction(squares, again) + price

    trained = fit(
        network,
        loss_of,
        replace(SCHEDULES[modality], seed=seed),
        out / f"{modality}_autoencoder_training.safetensors",
        f"{modality} autoencoder",
    )
    some = pool[:: max(1, len(pool) // 2000)]
    with torch.no_grad():
        code.settle(trained, torch.cat([_means(trained, part) for part in some.split(64)]))
        whole = NormalizedVAE(trained)
        latents = torch.cat([whole.encode(as_images(part)) for part in some.split(64)])
    whole.mean = latents.mean((0, 2, 3))
    whole.deviation = latents.std((0, 2, 3))
    write_tensors(target, whole.state_dict(), {})


class Code(ABC):
    """What makes latents such that a denoiser can learn them."""

    @abstractmethod
    def sample(
        self, network: AutoencoderKL, squares: Tensor, generator: Generator
    ) -> tuple[Tensor, Tensor]:
        """Latents for the decoder to read, and what is added to the loss."""

    @abstractmethod
    def settle(self, network: AutoencoderKL, latents: Tensor) -> None:
        """Finish the trained ``network`` in place, given its latents (n, c, h, w) of the data."""


class Variational(Code):
    """Posteriors near the unit normal, as AudioLDM and Stable Diffusion have it."""

    def sample(
        self, network: AutoencoderKL, squares: Tensor, generator: Generator
    ) -> tuple[Tensor, Tensor]:
        """A draw from the posterior, and its divergence."""
        posterior = _posterior(network, squares)
        price = KL_WEIGHT * posterior.kl().mean() / posterior.mean[0].numel()
        return posterior.sample(generator), price

    def settle(self, network: AutoencoderKL, latents: Tensor) -> None:
        """Nothing."""


class Noisy(Code):
    """Latents of unit covariance that can be read through noise.

    Diffusion adds the same noise to every direction. Posteriors near the unit normal do not keep an
    encoder from saying nearly all along one direction, where a green thing lies between a red and a
    blue one, and a denoiser that is unsure what is where paints it in any colour. Here all
    directions are equally strong, and what matters is said so that noise does not change it.
    """

    def sample(
        self, network: AutoencoderKL, squares: Tensor, generator: Generator
    ) -> tuple[Tensor, Tensor]:
        """White over the batch, with noise of up to ``MOST_NOISE``."""
        latents = _posterior(network, squares).mean
        mean, root = _spread(latents)
        white = torch.linalg.solve_triangular(root, _columns(latents) - mean[:, None], upper=False)
        white = white.unflatten(1, (len(latents), *latents.shape[2:])).transpose(0, 1)
        sigma = MOST_NOISE * torch.rand(len(white), 1, 1, 1, generator=generator)
        noise = torch.randn(white.shape, generator=generator)
        return white + sigma * noise, torch.zeros(())

    def settle(self, network: AutoencoderKL, latents: Tensor) -> None:
        """White over the data from now on: the last map of the encoder has it built in."""
        mean, root = _spread(latents)
        conv = cast(nn.Conv2d, network.quant_conv)
        weight, bias = conv.weight, cast(Tensor, conv.bias)
        count = len(root)
        weight[:count] = torch.linalg.solve(root, weight[:count, :, 0, 0])[..., None, None]
        bias[:count] = torch.linalg.solve(root, bias[:count] - mean)


def _spread(latents: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (c,) and lower root (c, c) of the covariance of latents (n, c, h, w)."""
    columns = _columns(latents)
    ridge = 1e-4 * torch.eye(len(columns))
    return columns.mean(1), torch.linalg.cholesky(torch.cov(columns) + ridge)


def _columns(latents: Tensor) -> Tensor:
    return latents.transpose(0, 1).flatten(1)


def _means(network: AutoencoderKL, pool: Tensor) -> Tensor:
    return _posterior(network, pixel_unshuffle(as_images(pool), SQUARE)).mean


def _posterior(network: AutoencoderKL, squares: Tensor) -> DiagonalGaussianDistribution:
    return cast(AutoencoderKLOutput, network.encode(squares)).latent_dist


def reconstruction(squares: Tensor, again: Tensor) -> Tensor:
    """L1 and L2 between images and their reconstruction, more where the usual image is not."""
    error = (again - squares).abs()
    usual = squares.mean(0, keepdim=True)
    weight = 1 + FOREGROUND * (squares - usual).abs()
    return (weight * (error + 2 * error.square())).mean()


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


CODE: dict[str, Code] = {"video": Noisy(), "audio": Variational()}
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
