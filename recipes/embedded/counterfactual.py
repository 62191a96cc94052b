"""What a discriminator knows of a pair, attribute by attribute and level by level.

The same scene is performed again with another colour, or another size, and its sound put to the
picture of the first: pairs that are wrong in that alone. The table says how often the logit of the
true pair is the larger (0.5 knows nothing) and by how much, with both sides noised alike and with
either side clean. Pairs put together anew cannot say this: they are told by their instants.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from train_discriminator import trained

from mmdisco.adapters.miniature import PACKAGED
from mmdisco.core.av import AV
from mmdisco.core.noise import NoiseLevel
from mmdisco.experiments.miniature.evaluation import held_out
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.io.files import sha256, write_text
from mmdisco.io.reports import markdown_table, versions
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
WAYS = ("both noised", "video clean", "audio clean")
TITLE = """# What the discriminator knows, by noise level

The share of held-out scenes in which the true pair has a larger logit than the same picture with
the sound of another colour, or of another size; in brackets, by how much it falls. 0.50 knows
nothing. Written by `recipes/embedded/counterfactual.py WEIGHTS --out FILE`.
"""


def main() -> None:
    """Write a row for every level."""
    parser = argparse.ArgumentParser(description="Ask a discriminator about counterfactual pairs.")
    parser.add_argument("weights", type=Path)
    parser.add_argument("--name", default="discriminator")
    parser.add_argument("--clips", type=int, default=192)
    parser.add_argument("--folder", type=Path, default=PACKAGED, help="pair of the bases")
    parser.add_argument("--out", type=Path, help="Markdown file of the table")
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
    rows: list[list[str]] = []
    for u in LEVELS:
        at = model.schedules.map(
            lambda one, u=u: one.level(torch.full((o.clips,), u * 999).floor().double())
        )
        row = [f"{u:.2f}"]
        for level in (at, AV(at.audio, clean), AV(clean, at.video)):
            right = logit(true, level)
            falls = [right - logit(audio, level) for audio in false.values()]
            row += [f"{(fall > 0).float().mean():.2f} ({fall.mean():.1f})" for fall in falls]
        rows.append(row)
        sys.stderr.write(" ".join(row) + "\n")
    titles = [f"{way}: {name}" for way in WAYS for name in WRONG]
    known = ", ".join(f"{name} {one}" for name, one in versions("mmdisco", "torch").items())
    note = (
        f"{o.clips} held-out clips, seed 0, {known}; weights of SHA-256 {sha256(o.weights)[:12]}…"
    )
    page = f"{TITLE}\n{markdown_table(['u', *titles], rows)}\n\n{note}.\n"
    if o.out:
        write_text(o.out, page)
    sys.stdout.write(page)


if __name__ == "__main__":
    main()
