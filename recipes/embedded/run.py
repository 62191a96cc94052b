"""The whole recipe of the embedded pair, from nothing to the table of figures.

``python recipes/embedded/run.py --out runs/embedded --seed 0`` makes data, trains text encoder,
autoencoders, feature networks and both bases, makes the fakes, trains the discriminator and the
additive control, packs the weights into ``OUT/pair``, distils the guidance and measures all of it.
Two processes at most, one thread each. Stop it whenever; the same command goes on where it was.
With ``--bases PAIR`` text encoder, autoencoders, feature networks and bases are those of a folder
that was packed before, such as ``src/mmdisco/adapters/miniature/weights``, and only the
discriminators are new.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from pack_pair import NETWORKS, pack_pair
from train_discriminator import CONFIGS as DISCRIMINATORS

HERE = Path(__file__).parent


def main() -> None:
    """Run the stages in order, the parts of a stage side by side."""
    parser = argparse.ArgumentParser(description="Make the embedded pair.")
    parser.add_argument("--out", type=Path, default=Path("runs/embedded"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clips", type=int, default=512, help="of every row of the table")
    parser.add_argument("--bases", type=Path, help="packed pair whose bases are taken")
    options = parser.parse_args()
    if options.bases:
        _take_bases(options.bases, options.out)
    out, common = options.out, ["--out", str(options.out), "--seed", str(options.seed)]
    both = ("video", "audio")
    _side_by_side([["train_text.py", *common]])
    _side_by_side([["train_autoencoders.py", one, *common] for one in both])
    _side_by_side([["train_features.py", one, *common] for one in both])
    _side_by_side([["make_latents.py", *common]])
    _side_by_side([["train_bases.py", one, *common] for one in both])
    pack_pair(out, out / "pair")
    _side_by_side([["make_fakes.py", *common]])
    _side_by_side([["ask_bases.py", *common, "--part", part, "2"] for part in ("0", "1")])
    names = ("discriminator", "additive")
    _side_by_side([["train_discriminator.py", one, "--run", str(out), *common] for one in names])
    pack_pair(out, out / "pair")
    _side_by_side([["distill.py", *common]])
    arguments = ["--weights", str(out / "pair"), "--out", str(out / "evaluation")]
    _run(
        [
            sys.executable,
            "-m",
            "mmdisco",
            "experiments",
            "miniature",
            *arguments,
            "--clips",
            str(options.clips),
        ]
    )


def _take_bases(pair: Path, out: Path) -> None:
    """Copy a pair's networks but the discriminators; stages whose network is there do nothing."""
    out.mkdir(parents=True, exist_ok=True)
    for name in NETWORKS:
        target = out / f"{name}.safetensors"
        if name not in DISCRIMINATORS and not target.exists():
            shutil.copy(pair / target.name, target)


def _side_by_side(scripts: list[list[str]]) -> None:
    """Run scripts of this folder at once; stop if one fails."""
    began = time.monotonic()
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen([sys.executable, str(HERE / script), *rest], env=environment)
        for script, *rest in scripts
    ]
    failed = [process.args for process in running if process.wait()]
    if failed:
        sys.exit(f"failed: {failed}")
    names = ", ".join(" ".join(script[:2]) for script in scripts)
    sys.stderr.write(f"--- {names}: {(time.monotonic() - began) / 60:.1f} min\n")


def _run(command: list[str]) -> None:
    if subprocess.run(command, check=False).returncode:
        sys.exit(f"failed: {' '.join(command)}")


if __name__ == "__main__":
    main()
