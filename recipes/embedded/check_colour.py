"""How steady the colour of a thing is from frame to frame: ``docs/embedded/colour.json``.

Measures real clips, the same through the autoencoders, the unguided baseline and joint generation
with held-out captions: the share of frames that are read as another colour than most of their clip,
and the share of clips with such a frame.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from mmdisco.evaluation.metrics.result import UNGUIDED
from mmdisco.evaluation.metrics.sounding_objects.detect_video import colour_of_each_frame
from mmdisco.experiments.miniature.evaluation import Bench, held_out, rows
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.io.files import write_json
from mmdisco.media.clip import AudioVideo
from mmdisco.media.sounding_objects.scene import ObjectKind

OUT = Path(__file__).parents[2] / "docs" / "embedded" / "colour.json"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="Measure how steady colours are.")
    parser.add_argument("--clips", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0, help="of the sampling noise")
    o = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench.load(MiniatureSystem())
    ways = {row.name: row for row in rows(bench.folder.sampling())}
    kinds = [held_out(index).scene.kind for index in range(o.clips)]
    real = ([held_out(index).clip] for index in range(o.clips))
    record: dict[str, Any] = {
        "clips": o.clips,
        "seed": o.seed,
        "mmdisco": version("mmdisco"),
        "torch": version("torch"),
        "real clips": unsteady(real, kinds),
        "through the autoencoders": unsteady(bench.reconstructed(o.clips), kinds),
    }
    for name in (UNGUIDED, "joint"):
        record[name] = unsteady(bench.generated(ways[name], o.seed, o.clips), kinds)
    write_json(OUT, record)
    sys.stdout.write(json.dumps(record, indent=1) + "\n")


def unsteady(batches: Iterable[list[AudioVideo]], kinds: list[ObjectKind]) -> dict[str, float]:
    """Shares of frames and clips in another colour; frames by kind too."""
    wrong: list[float] = []
    for clip in (one for batch in batches for one in batch):
        colours = Counter(colour_of_each_frame(clip.video))
        wrong.append(1 - max(colours.values()) / colours.total())
    found = {
        "frames": sum(wrong) / len(wrong),
        "clips": sum(one > 0 for one in wrong) / len(wrong),
    }
    for kind in ObjectKind:
        own = [one for one, its in zip(wrong, kinds, strict=True) if its is kind]
        if own:
            found[f"frames, {kind.value}"] = sum(own) / len(own)
    return {name: round(value, 4) for name, value in found.items()}


if __name__ == "__main__":
    main()
