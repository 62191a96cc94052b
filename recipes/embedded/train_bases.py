"""Trains the denoisers of the embedded pair, each on the latents of its own modality alone."""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from fit import Schedule, fit
from torch import Generator, Tensor

from mmdisco.adapters.miniature.denoiser import ConvTransformer, DenoiserConfig
from mmdisco.adapters.miniature.model import TextEncoder, audio_schedule, video_schedule
from mmdisco.core.parameterization import VPrediction
from mmdisco.data.pair_store import PairStore
from mmdisco.io.files import read_tensors, write_tensors
from mmdisco.media.sounding_objects.dataset import vocabulary

CONFIGS = {
    "audio": DenoiserConfig(shape=(4, 32, 16), width=192),
    "video": DenoiserConfig(shape=(4, 16, 8, 8)),
}
TRAININGS = {
    "audio": Schedule(steps=14000, learning_rate=1.5e-3, warmup=400, ema=0.9995),
    "video": Schedule(steps=12000, learning_rate=1.5e-3, warmup=400, ema=0.9995),
}
SCHEDULES = {"audio": audio_schedule, "video": video_schedule}
BATCH = 32
WITHOUT_CAPTION = 0.1


def train(modality: str, seed: int, out: Path) -> None:
    """Train one denoiser and write ``<modality>_denoiser.safetensors``."""
    target = out / f"{modality}_denoiser.safetensors"
    if target.exists():
        return
    torch.manual_seed(seed)
    pairs = PairStore(out / "real", "real").read()
    latents = getattr(pairs.z_0, modality)
    captions = pairs.cond.audio.pooled
    encoder = TextEncoder(vocabulary())
    encoder.load_state_dict(read_tensors(out / "text_encoder.safetensors"))
    with torch.no_grad():
        empty = encoder([""])
    network = ConvTransformer(CONFIGS[modality])
    schedule = SCHEDULES[modality]()
    rows = len(schedule.times)

    def loss_of(step: int, generator: Generator) -> Tensor:
        del step
        chosen = torch.randint(len(latents), (BATCH,), generator=generator)
        x_0 = latents[chosen]
        dropped = torch.rand(BATCH, 1, generator=generator) < WITHOUT_CAPTION
        text = torch.where(dropped, empty, captions[chosen])
        # stratified: one draw from every 32nd of the schedule
        jitter = torch.rand(BATCH, generator=generator, dtype=torch.float64)
        t = ((torch.arange(BATCH) + jitter) / BATCH * rows).floor()
        level = schedule.level(t)
        eps = torch.randn(x_0.shape, generator=generator)
        x_t = level.add_noise(x_0, eps)
        v = VPrediction().from_eps(eps, x_t, level)
        return (network(x_t, level, text) - v).square().mean()

    trained = fit(
        network,
        loss_of,
        replace(TRAININGS[modality], seed=seed),
        out / f"{modality}_denoiser_training.safetensors",
        f"{modality} denoiser",
    )
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
