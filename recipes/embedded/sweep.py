"""Alignment and faithfulness over joint scales, guidance scales, steps and schedulers.

``python recipes/embedded/sweep.py --given nothing --scale 0 1 2 4`` measures every combination of
what is given and prints the table of ``mmdisco experiments miniature`` for it. With this the
settings in ``pack_pair.py`` are chosen; on another part of the data than the table of record uses.
"""

import argparse
import itertools
import sys
from dataclasses import replace
from pathlib import Path

from mmdisco.core.av import AV
from mmdisco.experiments.miniature.evaluation import (
    MiniatureRow,
    audio_to_video,
    joint_generation,
    video_to_audio,
)
from mmdisco.experiments.miniature.grid import KeptMiniatureCell, report
from mmdisco.generation.presets.miniature import MiniatureSystem

TASKS = {"nothing": joint_generation, "audio": audio_to_video, "video": video_to_audio}


def main() -> None:
    """Measure all combinations."""
    parser = argparse.ArgumentParser(description="Sweep the settings of the embedded pair.")
    parser.add_argument("--given", choices=TASKS, default="nothing")
    parser.add_argument("--scale", nargs="+", default=["1"], help="both sides, or audio,video")
    parser.add_argument("--guidance", nargs="+", default=["1.5"], help="both, or audio,video")
    parser.add_argument("--steps", nargs="+", type=int, default=[20])
    parser.add_argument("--scheduler", nargs="+", default=["dpm++2m"])
    parser.add_argument(
        "--levels", nargs=2, type=_end, default=[None, None], help="ln SNR, '-' is open"
    )
    parser.add_argument("--discriminator", default="discriminator")
    parser.add_argument("--distilled", action="store_true", help="guide without a backward pass")
    parser.add_argument("--seed", type=int, default=100, help="of the sampling noise")
    parser.add_argument("--clips", type=int, default=128)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--weights", type=Path, default=Path("runs/embedded/pair"))
    parser.add_argument("--out", type=Path, default=Path("runs/embedded/sweep"))
    o = parser.parse_args()
    todo = [KeptMiniatureCell(o.out, o.weights, None, 0, o.clips)]
    ways = itertools.product(o.scale, o.guidance, o.steps, o.scheduler)
    for scale, guidance, steps, scheduler in ways:
        source = f"{o.discriminator}{', distilled' if o.distilled else ''}"
        name = f"{o.given} given, s {scale}, w {guidance}, {steps} {scheduler}, {source}"
        sampling = replace(
            MiniatureSystem(o.weights).sampling(),
            steps=steps,
            scheduler=scheduler,
            cfg_scale=_both(guidance),
            joint_scale=_both(scale),
            joint_min_logsnr=o.levels[0],
            joint_max_logsnr=o.levels[1],
        )
        row = MiniatureRow(
            f"{name}, {o.levels}", TASKS[o.given], sampling, o.discriminator, distilled=o.distilled
        )
        todo.append(KeptMiniatureCell(o.out, o.weights, row, o.seed, o.clips))
    sys.stdout.write(report(todo, o.jobs) + "\n")


def _end(text: str) -> float | None:
    return None if text == "-" else float(text)


def _both(text: str) -> AV[float]:
    first, _, second = text.partition(",")
    return AV(float(first), float(second or first))


if __name__ == "__main__":
    main()
