"""Trains the autoencoders of the embedded pair on frames and spectrograms of the data.

Run by ``run.py``; alone: ``python recipes/embedded/train_autoencoders.py video --out DIR``.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from progress import lines, progress
from torch import Tensor

from mmdisco.adapters.miniature.autoencoder import build_autoencoder
from mmdisco.io.files import write_tensors
from mmdisco.media.mel import MelScale
from mmdisco.media.sounding_objects.dataset import example
from mmdisco.training.bases.autoencoders import CODES, train_autoencoder
from mmdisco.training.bases.config import AutoencoderFit
from mmdisco.training.bases.fit import FitRun

CLIPS = 3000
CONFIGS = {
    "video": AutoencoderFit(widths=(24, 48, 64)),
    "audio": AutoencoderFit(widths=(24, 48), batch_size=8),
}
CHANNELS = {"video": 3, "audio": 1}


def train(modality: str, seed: int, out: Path) -> None:
    """Train one autoencoder and write ``<modality>_autoencoder.safetensors``."""
    target = out / f"{modality}_autoencoder.safetensors"
    if target.exists():
        return
    torch.manual_seed(seed)
    config, name = CONFIGS[modality], f"{modality}_autoencoder"
    network = build_autoencoder(CHANNELS[modality], config.widths)
    path = out / f"{name}_training.safetensors"
    run = FitRun(config, seed, path, lines(f"{modality} autoencoder", config.steps))
    trained = train_autoencoder(network, POOL[modality](seed), CODES[modality], run)
    write_tensors(target, trained.state_dict(), {})


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


POOL: dict[str, Callable[[int], Tensor]] = {"video": frames, "audio": spectrograms}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train an autoencoder of the embedded pair.")
    parser.add_argument("modality", choices=tuple(CONFIGS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/embedded"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    train(options.modality, options.seed, options.out)
