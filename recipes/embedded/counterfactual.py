"""What a discriminator knows of a pair, attribute by attribute and level by level.

The same scene is performed again with another colour, or another size, and its sound put to the
picture of the first: pairs that are wrong in that alone. Printed is how often the logit of the true
pair is the larger (0.5 knows nothing) and by how much, with both sides noised alike and with either
side clean. Pairs put together anew cannot say this: they are told by their instants.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from train_discriminator import trained

from mmdisco.core.av import AV
from mmdisco.core.noise import NoiseLevel
from mmdisco.experiments.miniature.evaluation import held_out
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.media.sounding_objects.dataset import perform
from mmdisco.media.sounding_objects.scene import RADII, Colour, Scene, Size

LEVELS = (0.0, 0.2, 0.35, 0.5, 0.65, 0.8)
STRIDE = 5  # through held-out captions, of which eight in a row are alike


def other_colour(scene: Scene, rng: np.random.Generator) -> Scene:
    """The scene in one of the three other colours."""
    others = [one for one in Colour if one is not scene.colour]
    return replace(scene, colour=others[rng.integers(len(others))])


def other_size(scene: Scene, rng: np.random.Generator) -> Scene:
    """The scene in one of the two other sizes."""
    others = [one for one in Size if one is not scene.size]
    size = others[rng.integers(len(others))]
    return replace(scene, size=size, radius=rng.uniform(*RADII[size]))


WRONG = {"colour": other_colour, "size": other_size}


def main() -> None:
    """Print a line for every level and way of noising."""
    parser = argparse.ArgumentParser(description="Ask a discriminator about counterfactual pairs.")
    parser.add_argument("weights", type=Path)
    parser.add_argument("--name", default="discriminator")
    parser.add_argument("--clips", type=int, default=192)
    parser.add_argument("--folder", type=Path, default=Path("runs/embedded/pair"))
    o = parser.parse_args()
    torch.set_num_threads(1)
    model, network = MiniatureSystem(o.folder).model(), trained(o.name, o.weights)
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    scenes = [held_out(STRIDE * index) for index in range(o.clips)]
    video = model.encode_video([one.clip.video for one in scenes])
    true = model.encode_audio([one.clip.audio for one in scenes])
    false = {
        name: model.encode_audio([perform(change(one.scene, rng), rng).audio for one in scenes])
        for name, change in WRONG.items()
    }
    text = model.encode_prompts([one.caption.text for one in scenes]).map(lambda one: one.pooled)
    eps = AV(
        torch.randn(true.shape, generator=generator), torch.randn(video.shape, generator=generator)
    )

    def logit(audio: Tensor, level: AV[NoiseLevel]) -> Tensor:
        z_t = AV(level.audio.add_noise(audio, eps.audio), level.video.add_noise(video, eps.video))
        with torch.no_grad():
            return network(z_t, level, text)

    clean = NoiseLevel.clean(o.clips)
    for u in LEVELS:
        at = model.schedules.map(
            lambda one, u=u: one.level(torch.full((o.clips,), u * 999).floor().double())
        )
        ways = {
            "both noised": at,
            "video clean": AV(at.audio, clean),
            "audio clean": AV(clean, at.video),
        }
        for way, level in ways.items():
            right = logit(true, level)
            said = [f"u {u:.2f}, {way}: logit {right.mean():6.2f}"]
            for name, audio in false.items():
                fall = right - logit(audio, level)
                share = (fall > 0).float().mean()
                said.append(f"other {name}: told {share:.2f}, falls by {fall.mean():5.2f}")
            sys.stdout.write("; ".join(said) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
