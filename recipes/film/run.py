"""The tutorial of docs/film.md: a discriminator for one film, from the download to the page.

``python recipes/film/run.py --out runs/film`` runs the commands that the page shows, one after the
other, then measures and writes the page. One process. Stop it whenever; the same command goes on
where it was.
"""

import argparse
import shlex
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import IO, Final

from measure import measure
from page import CLIPS, Told, write_page
from remembered import remember

from mmdisco.io.files import read_json, replacing, write_json

HERE: Final = Path(__file__).parent
RELEASE: Final = "moviepy==2.2.1"
INSIDE: Final = "docs/_static/medias/getting_started/moviepy_10_minutes/moviepy_10_minutes.zip"
FILM: Final = "moviepy_10_minutes/resources/bbb.mp4"
DOWNLOAD: Final = ("download", RELEASE, "--no-deps", "--no-binary", "moviepy")
PREPARE: Final = "prepare bbb.mp4 --out data --clip-stride 0.2 --split-block 20 --validation 0.3"
FAKES: Final = "sample-fakes data --out fakes --max-per-caption 128"
TRAIN: Final = "train training.yaml --out film"
ADDITIVE: Final = (
    "train training.yaml --out additive --fusion additive --learning-rate 0.001 "
    "--set init_from=null --set contrastive_pretraining.steps=0"
)
GENERATE: Final = (
    f"generate --no-prompt --samples {CLIPS} --discriminator film --out clips/clip.mp4"
)
ALONE: Final = f"generate --no-prompt --samples {CLIPS} --no-joint-guidance --out alone/clip.mp4"


def main() -> None:
    """Film, commands, figures, page."""
    parser = argparse.ArgumentParser(description="Train a discriminator for one film.")
    parser.add_argument("--out", type=Path, default=Path("runs/film"))
    parser.add_argument("--docs", type=Path, default=HERE.parents[1] / "docs")
    options = parser.parse_args()
    out = options.out
    out.mkdir(parents=True, exist_ok=True)
    (out / "training.yaml").write_text((HERE / "training.yaml").read_text())
    if not (out / "bbb.mp4").exists():
        fetch(out)
    for words in (PREPARE, FAKES, TRAIN, ADDITIVE, GENERATE, ALONE):
        mmdisco(words, out)
    figures, memory = measure(out), remember(out)
    commands = {"prepare": PREPARE, "fakes": FAKES, "train": TRAIN, "generate": GENERATE}
    write_page(out, options.docs, Told(commands, figures, memory))


def mmdisco(words: str, out: Path) -> None:
    """Run a command of the tutorial in the folder, unless that was done."""
    kept = out / "done.json"
    done: list[str] = read_json(kept) if kept.exists() else []
    if words in done:
        return
    sys.stderr.write(f"--- mmdisco {words}\n")
    subprocess.run([sys.executable, "-m", "mmdisco", *shlex.split(words)], cwd=out, check=True)
    write_json(kept, [*done, words])


def fetch(out: Path) -> None:
    """Take the film out of the source distribution that holds it."""
    archive = out / "moviepy-2.2.1.tar.gz"
    if not archive.exists():
        subprocess.run([sys.executable, "-m", "pip", *DOWNLOAD, "-d", str(out)], check=True)
    with tarfile.open(archive) as tar:
        _copy(tar.extractfile(f"moviepy-2.2.1/{INSIDE}"), out / "inside.zip")
    with zipfile.ZipFile(out / "inside.zip") as inner:
        _copy(inner.open(FILM), out / "bbb.mp4")
    (out / "inside.zip").unlink()


def _copy(source: IO[bytes] | None, target: Path) -> None:
    if source is None:
        sys.exit(f"{RELEASE} does not hold the film any more")
    with source, replacing(target) as beside, beside.open("wb") as file:
        shutil.copyfileobj(source, file)


if __name__ == "__main__":
    main()
