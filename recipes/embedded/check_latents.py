"""What latents of the video still tell when noise is added, and how they lie in their space.

Diffusion adds the same noise to every direction of the latents. Printed is the deviation along each
principal direction, how far apart clips are that differ in colour alone, and what is read from
held-out clips that went through the autoencoder with noise of a given deviation on their latents.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from train_autoencoders import CONFIGS as AUTOENCODERS

from mmdisco.adapters.miniature import FPS
from mmdisco.adapters.miniature.autoencoder import (
    NormalizedVAE,
    build_autoencoder,
    decode_frames,
    encode_frames,
)
from mmdisco.evaluation.metrics.sounding_objects.agreement import agreement, as_record, read
from mmdisco.experiments.miniature.evaluation import held_out
from mmdisco.io.files import read_tensors
from mmdisco.media.clip import AudioVideo, Video
from mmdisco.media.sounding_objects.dataset import Example
from mmdisco.media.sounding_objects.render import render
from mmdisco.media.sounding_objects.scene import Colour, ObjectKind

NOISE = (0.0, 0.2, 0.4, 0.7, 1.0)
READ = ("event_f1", "material", "size")
STRIDE = 5  # through held-out captions, of which eight in a row are alike


def main() -> None:
    """Print all three."""
    parser = argparse.ArgumentParser(description="Look at the latents of a video autoencoder.")
    parser.add_argument("weights", type=Path)
    parser.add_argument("--clips", type=int, default=64)
    o = parser.parse_args()
    torch.set_num_threads(1)
    autoencoder = NormalizedVAE(build_autoencoder(3, AUTOENCODERS["video"].widths))
    autoencoder.load_state_dict(read_tensors(o.weights))
    autoencoder.requires_grad_(False)  # noqa: FBT003
    clips = [held_out(STRIDE * index) for index in range(o.clips)]
    latents = encode_frames(autoencoder, _frames([one.clip.video for one in clips]))
    columns = latents.transpose(0, 1).flatten(1)
    _say("deviation along principal directions", torch.linalg.eigvalsh(torch.cov(columns)).sqrt())
    names = ", ".join(colour.value for colour in Colour)
    for kind in ObjectKind:
        own = [one for one in clips if one.scene.kind is kind][:6]
        apart = torch.stack([_colours_apart(autoencoder, one) for one in own]).mean(0)
        for colour, row in zip(Colour, apart, strict=True):
            _say(f"{kind.value}: distance of {colour.value} from {names}", row)
    for sigma in NOISE:
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
        again = decode_frames(autoencoder, latents + sigma * noise)
        read_again = [
            read(
                AudioVideo(one.clip.audio, Video(np.ascontiguousarray(frames), FPS)),
                one.caption.named,
            )
            for one, frames in zip(clips, again.numpy(), strict=True)
        ]
        figures = as_record(agreement(read_again))
        said = ", ".join(f"{name} {figures[name]['value']:.2f}" for name in READ)
        sys.stdout.write(f"noise {sigma:.1f}: {said}\n")


def _colours_apart(autoencoder: NormalizedVAE, clip: Example) -> Tensor:
    videos = [render(replace(clip.scene, colour=colour)) for colour in Colour]
    latents = encode_frames(autoencoder, _frames(videos)).flatten(1)
    return torch.cdist(latents, latents)


def _frames(videos: list[Video]) -> Tensor:
    return torch.from_numpy(np.stack([one.frames for one in videos]))


def _say(what: str, values: Tensor) -> None:
    sys.stdout.write(f"{what}: {', '.join(f'{value:.2f}' for value in values.tolist())}\n")


if __name__ == "__main__":
    main()
