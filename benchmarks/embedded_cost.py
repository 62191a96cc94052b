"""What a clip of the embedded pair costs, and what joint guidance adds: time and memory.

Writes ``docs/embedded/cost.json``. Sampling with and without guidance alternate in one process;
figures are medians and their ratio. Memory is the peak of a whole ``mmdisco generate``.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from mmdisco.adapters.miniature import SECONDS
from mmdisco.core.av import AV
from mmdisco.core.guidance import ConstantScale
from mmdisco.evaluation.metrics.result import UNGUIDED
from mmdisco.generation.pipeline import GenerationRun, JointGeneration
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.io.files import write_json
from mmdisco.io.reports import versions

PROMPT = "a red ball bouncing"
OUT = Path(__file__).parents[1] / "docs" / "embedded" / "cost.json"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="Measure what a clip of the embedded pair costs.")
    parser.add_argument("--pairs", type=int, default=9, help="clips with and without guidance")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    folder = MiniatureSystem()
    model, discriminator = folder.model(), folder.discriminator()
    settings = folder.sampling().settings
    off = AV(ConstantScale(0.0), ConstantScale(0.0))
    ways = {
        UNGUIDED: replace(settings, joint_scale=off),
        "joint guidance": settings,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(options.pairs + 1):
        for name, way in ways.items():
            generation = GenerationRun(model, discriminator, way, JointGeneration(), SECONDS)
            began = time.perf_counter()
            for _ in generation.run([PROMPT], [turn]):
                pass
            if turn:  # the first pair warms up
                seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    record = {
        "what": "seconds of sampling one clip, without decoding",
        "prompt": PROMPT,
        "steps": settings.steps,
        "pairs": options.pairs,
        "threads": torch.get_num_threads(),
        **versions("mmdisco", "torch"),
        "median seconds": {name: round(value, 4) for name, value in medians.items()},
        "guidance adds": round(medians["joint guidance"] / medians[UNGUIDED] - 1, 3),
        "whole command": command(),
    }
    write_json(options.out, record)
    print(json.dumps(record, indent=1))


def command() -> dict[str, float]:
    """Wall time and peak memory of ``mmdisco generate`` for one clip, start to end."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "clip.mp4"
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "mmdisco", "generate", PROMPT, "--out", str(out)],
            check=True,
            env=os.environ,
            capture_output=True,
        )
        took = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    return {"seconds": round(took, 2), "peak memory in GiB": round(peak, 3)}


if __name__ == "__main__":
    main()
