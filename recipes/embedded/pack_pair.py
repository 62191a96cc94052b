"""Packs what a run has trained so far into the folder that ``mmdisco`` loads a pair from."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from train_autoencoders import CONFIGS as AUTOENCODERS
from train_bases import CONFIGS as DENOISERS
from train_discriminator import CONFIGS as DISCRIMINATORS

from mmdisco.adapters.miniature import FPS
from mmdisco.io.files import read_tensors
from mmdisco.media.mel import MelScale
from mmdisco.media.sounding_objects.dataset import vocabulary
from mmdisco.training.bases.pair import SAMPLING as USUAL
from mmdisco.training.bases.pair import pack

# what generation begins with: the best that sweep.py has found so far
SAMPLING: dict[str, Any] = {
    **USUAL,
    "joint_scale": [3.0, 10.0],
    "video_to_audio": 20.0,
    "audio_to_video": 12.0,
    "few_steps": 12,
    "few_steps_scale": 0.6,
}
NETWORKS = (
    "text_encoder",
    "audio_autoencoder",
    "video_autoencoder",
    "audio_denoiser",
    "video_denoiser",
    "audio_features",
    "video_features",
    "discriminator",
    "additive",
)
LICENCE = {"license": "apache-2.0"}


def pack_pair(out: Path, folder: Path, sampling: dict[str, Any] = SAMPLING) -> None:
    """Pack every network that ``out`` has into ``folder``."""
    files = {name: out / f"{name}.safetensors" for name in NETWORKS}
    there = {name: read_tensors(path) for name, path in files.items() if path.exists()}
    config: dict[str, Any] = {
        "fps": str(FPS),
        "mel": asdict(MelScale()),
        **{f"{name}_autoencoder": list(one.widths) for name, one in AUTOENCODERS.items()},
        "audio_denoiser": DENOISERS["audio"].to_record(),
        "video_denoiser": DENOISERS["video"].to_record(),
        **{name: one.to_record() for name, one in DISCRIMINATORS.items()},
        "words": list(vocabulary()),
        "sampling": sampling,
    }
    pack(there, config, folder, LICENCE)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Pack the embedded pair.")
    parser.add_argument("--out", type=Path, default=Path("runs/embedded"))
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    pack_pair(options.out, options.folder or options.out / "pair")
