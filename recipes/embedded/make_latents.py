"""Makes clips of the data; their latents and encoded captions become the store of real pairs."""

import argparse
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from progress import progress
from train_autoencoders import CONFIGS as AUTOENCODERS

from mmdisco.adapters.miniature.autoencoder import (
    NormalizedVAE,
    build_autoencoder,
    encode_frames,
    encode_mel,
)
from mmdisco.adapters.miniature.model import TextEncoder
from mmdisco.core.av import AV
from mmdisco.core.denoiser import Conditioning
from mmdisco.core.pairs import Pairs
from mmdisco.data.pair_store import PairStore
from mmdisco.io.files import read_tensors
from mmdisco.media.mel import MelScale
from mmdisco.media.sounding_objects.dataset import Example, example, vocabulary

SHARD = 1024
SHARDS = 16
PART = 32


def make(seed: int, shards: int, out: Path, processes: int) -> PairStore:
    """Fill ``out/real`` up to ``shards`` shards."""
    store = PairStore(out / "real", "real")
    todo = [(seed, shard, out) for shard in range(store.shards, shards)]
    if todo:
        with get_context("spawn").Pool(processes) as pool:
            for _, tensors in zip(progress(todo, "latents"), pool.imap(_shard, todo), strict=True):
                audio, video, text = (torch.from_numpy(one) for one in tensors)
                store.append(Pairs(AV(audio, video), AV(Conditioning(text), Conditioning(text))))
    return store


def _shard(task: tuple[int, int, Path]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latents of sound and picture and the vectors of the captions, as arrays to be sent."""
    seed, shard, out = task
    torch.set_num_threads(1)
    encoder = Encoder(out)
    parts = [
        encoder.encode([example(seed, index) for index in range(start, start + PART)])
        for start in range(shard * SHARD, (shard + 1) * SHARD, PART)
    ]
    audio, video, text = (torch.cat(tensors).numpy() for tensors in zip(*parts, strict=True))
    return audio, video, text


class Encoder:
    """Autoencoders and text encoder from a run folder."""

    def __init__(self, out: Path) -> None:
        self.video = NormalizedVAE(build_autoencoder(3, AUTOENCODERS["video"].widths))
        self.audio = NormalizedVAE(build_autoencoder(1, AUTOENCODERS["audio"].widths))
        self.text = TextEncoder(vocabulary())
        for network, name in (
            (self.video, "video_autoencoder"),
            (self.audio, "audio_autoencoder"),
            (self.text, "text_encoder"),
        ):
            network.load_state_dict(read_tensors(out / f"{name}.safetensors"))
            network.eval().requires_grad_(False)  # noqa: FBT003

    @torch.no_grad()
    def encode(
        self, examples: Sequence[Example]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Latents of sound and picture, and the captions' vectors."""
        frames = torch.from_numpy(np.stack([e.clip.video.frames for e in examples]))
        waveforms = torch.from_numpy(np.stack([e.clip.audio.waveform for e in examples]))
        return (
            encode_mel(self.audio, MelScale().analyse(waveforms)),
            encode_frames(self.video, frames),
            self.text([e.caption.text for e in examples]),
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the store of real pairs.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/embedded"))
    options = parser.parse_args()
    make(options.seed, SHARDS, options.out, processes=2)
