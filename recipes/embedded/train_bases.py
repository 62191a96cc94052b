"""Trains the denoisers of the embedded pair, each on the latents of its own modality alone."""

import argparse
from pathlib import Path

import torch
from progress import lines

from mmdisco.adapters.miniature.denoiser import ConvTransformer, DenoiserConfig
from mmdisco.adapters.miniature.model import (
    AUDIO_SHAPE,
    VIDEO_SHAPE,
    TextEncoder,
    audio_schedule,
    video_schedule,
)
from mmdisco.data.pair_store import PairStore
from mmdisco.io.files import read_tensors, write_tensors
from mmdisco.media.sounding_objects.dataset import vocabulary
from mmdisco.training.bases.config import DenoiserFit
from mmdisco.training.bases.denoisers import train_denoiser
from mmdisco.training.bases.fit import FitRun

CONFIGS = {
    "audio": DenoiserConfig(tuple(AUDIO_SHAPE), width=192),
    "video": DenoiserConfig(tuple(VIDEO_SHAPE)),
}
TRAININGS = {"audio": DenoiserFit(steps=14_000), "video": DenoiserFit(steps=12_000)}
SCHEDULES = {"audio": audio_schedule, "video": video_schedule}


def train(modality: str, seed: int, out: Path) -> None:
    """Train one denoiser and write ``<modality>_denoiser.safetensors``."""
    target = out / f"{modality}_denoiser.safetensors"
    if target.exists():
        return
    torch.manual_seed(seed)
    pairs = PairStore(out / "real", "real").read()
    encoder = TextEncoder(vocabulary())
    encoder.load_state_dict(read_tensors(out / "text_encoder.safetensors"))
    with torch.no_grad():
        captions = pairs.cond.audio.pooled, encoder([""])
    config, path = TRAININGS[modality], out / f"{modality}_denoiser_training.safetensors"
    run = FitRun(config, seed, path, lines(f"{modality} denoiser", config.steps))
    network, schedule = ConvTransformer(CONFIGS[modality]), SCHEDULES[modality]()
    trained = train_denoiser(network, schedule, getattr(pairs.z_0, modality), captions, run)
    write_tensors(target, trained.state_dict(), {})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a denoiser of the embedded pair.")
    parser.add_argument("modality", choices=tuple(CONFIGS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/embedded"))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    train(options.modality, options.seed, options.out)
