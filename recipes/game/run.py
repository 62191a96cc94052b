"""A pair for a game that nobody here made, from clips to figures and the page docs/game.md.

``python recipes/game/run.py --out runs/game`` runs the commands that the page shows: clips are
played, two base models trained, clips prepared, fakes sampled, a discriminator and the additive
control trained; then readers of truth are trained, all of it is measured, and the page is written.
Two processes at most, one thread each. Stop it whenever; the same command goes on where it was.
"""

import argparse
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from commands import (
    ADDITIVE,
    BASES,
    FAKES,
    GENERATE,
    MORE,
    PREPARE,
    PREPARE_HELD_OUT,
    TRAIN,
)
from curve import CurveCell
from page import write_page

from mmdisco.experiments.grid import run
from mmdisco.io.files import read_json, write_json

HERE: Final = Path(__file__).parent
CURVE: Final = (0.1, 1.0, 10.0)
MOST: Final = 2  # processes at once


@dataclass(frozen=True)
class Recipe:
    """A run of the recipe.

    Attributes:
        out: Folder of everything.
        hours: Hours of clips that the pair is trained on.
        validation: Hours that are held out, and as many of the scenario that is.
        clips: Clips of a row and seed that are measured.
        seeds: Seeds of the noise.
        curve: Hours of clips on the curve of the data size.
    """

    out: Path
    hours: float = 5.0
    validation: float = 0.5
    clips: int = 256
    seeds: int = 3
    curve: Sequence[float] = CURVE
    environment: dict[str, str] = field(default_factory=lambda: {"OMP_NUM_THREADS": "1"})

    def go(self) -> None:
        """Run all stages; those that were done before do nothing."""
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / "training.yaml").write_text((HERE / "training.yaml").read_text())
        self.run(self.script("make_clips", "clips", hours=self.hours, validation=self.validation))
        self.run(BASES)
        self.run(PREPARE, *PREPARE_HELD_OUT)
        self.run(*(f"{FAKES} --shard {share}/{MOST}" for share in range(MOST)))
        self.run(TRAIN, ADDITIVE)
        self.run(GENERATE, f"{shlex.quote(str(HERE / 'readers.py'))} --clips clips --out readers")
        self.run(self.script("measure", ".", clips=self.clips, seeds=self.seeds))
        self.draw_curve()

    def draw_curve(self) -> None:
        """Train on every size; sizes beyond the clips of the pair have clips of their own."""
        most = max(self.curve)
        if most > self.hours:
            self.run(self.script("make_clips", "more", hours=most, validation=0))
            self.run(MORE)
        cells = [
            CurveCell(
                self.out,
                self.out / "prepared" / ("train" if hours <= self.hours else "more"),
                hours,
                self.out / "prepared" / "validation",
            )
            for hours in self.curve
        ]
        for cell, done, total in run(cells, 2):
            sys.stderr.write(f"{cell.hours:g} hours: {done} of {total} sizes\n")

    def script(self, name: str, out: str, **options: Any) -> str:
        """Return the words that run a script of this folder."""
        words = [f"--{key} {value:g}" for key, value in options.items()]
        return " ".join([shlex.quote(str(HERE / f"{name}.py")), "--out", out, *words])

    def run(self, *commands: str) -> None:
        """Run commands in the folder, ``MOST`` at once, but for those that were done.

        Raises:
            SystemExit: One of them failed; the others were stopped.
        """
        kept, began = self.out / "done.json", time.monotonic()
        done: list[str] = read_json(kept) if kept.exists() else []
        waiting = [words for words in commands if words not in done]
        running: dict[str, subprocess.Popen[bytes]] = {}
        try:
            while waiting or running:
                while waiting and len(running) < MOST:
                    running[waiting[0]] = self._start(waiting[0])
                    waiting.pop(0)
                for words, process in list(running.items()):
                    status = process.poll()
                    if status is None:
                        continue
                    del running[words]
                    if status:
                        raise SystemExit(f"failed with status {status}: {words}")
                    done.append(words)
                    write_json(kept, done)
                    sys.stderr.write(f"--- {(time.monotonic() - began) / 60:.1f} min: {words}\n")
                time.sleep(0.1)
        finally:
            for process in running.values():
                process.terminate()
                process.wait()

    def _start(self, words: str) -> "subprocess.Popen[bytes]":
        sys.stderr.write(f"--- {words}\n")
        program, *rest = shlex.split(words)
        own = ["-m", program] if program == "mmdisco" else [program]
        return subprocess.Popen(
            [sys.executable, *own, *rest], cwd=self.out, env=os.environ | self.environment
        )


def main() -> None:
    """Run the recipe, then write the page."""
    parser = argparse.ArgumentParser(description="Make a pair for a game, and measure it.")
    parser.add_argument("--out", type=Path, default=Path("runs/game"))
    parser.add_argument("--docs", type=Path, default=HERE.parents[1] / "docs")
    parser.add_argument("--hours", type=float, default=5.0, help="of clips to train the pair on")
    parser.add_argument("--validation", type=float, default=0.5, help="hours; as many held out")
    parser.add_argument("--clips", type=int, default=256, help="of a row and seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--curve", type=float, nargs="+", default=CURVE, help="hours of clips, such as 0.1 1 10 100"
    )
    o = parser.parse_args()
    Recipe(o.out.absolute(), o.hours, o.validation, o.clips, o.seeds, o.curve).go()
    write_page(o.docs, o.out)


if __name__ == "__main__":
    main()
