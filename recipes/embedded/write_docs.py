"""Writes what docs say of the embedded pair: tables, pictures, model card.

Run after ``run.py``: copies the results of the evaluation to ``docs/embedded``, puts the short
table into that page and the model card between their marks, and draws clips with and without
guidance from the packaged weights.
"""

import argparse
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mmdisco.adapters.miniature import PACKAGED, SECONDS
from mmdisco.core.av import AV
from mmdisco.core.guidance import ConstantScale
from mmdisco.generation.pipeline import GenerationRun, JointGeneration, generate
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.io.files import read_json, write_text
from mmdisco.io.reports import markdown_table
from mmdisco.media.clip import AudioVideo
from mmdisco.media.plots import draw_clips

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- figures of the embedded pair -->", "<!-- end of figures -->"
PROMPTS = ("a drum being hit", "a red ball bouncing", "a blue bell rings", "a lamp flashing")
SEED = 2  # of the first
COLUMNS = {
    "event F1": "paired event_f1",
    "recombined": "recombined event_f1",
    "gap closed: events": "gap event_f1",
    "material": "gap material",
    "size": "gap size",
    "Fréchet video": "frechet_video",
    "Fréchet audio": "frechet_audio",
}


def main() -> None:
    """Write everything."""
    parser = argparse.ArgumentParser(description="Write the documents of the embedded pair.")
    parser.add_argument("--out", type=Path, default=Path("runs/embedded"))
    options = parser.parse_args()
    torch.set_num_threads(2)
    docs = ROOT / "docs" / "embedded"
    for name in ("results.json", "tables.md"):
        shutil.copyfile(options.out / "evaluation" / name, docs / name)
    table = short_table(read_json(docs / "results.json"))
    for path in (docs / "README.md", PACKAGED / "README.md"):
        between_marks(path, table)
    draw(docs / "guidance.png", PROMPTS[:1])
    draw(docs / "clips.png", PROMPTS)


def short_table(results: dict[str, Any]) -> str:
    """The figures that matter most, as Markdown."""
    rows = [
        [
            name,
            *(
                text(row[key], percent=title in ("material", "size") or "gap" in title)
                for title, key in COLUMNS.items()
            ),
        ]
        for name, row in results["figures"].items()
    ]
    conditions = ", ".join(f"{key} {value}" for key, value in results["conditions"].items())
    return "\n".join(
        [
            markdown_table(["", *COLUMNS], rows),
            "",
            f"Mean ± standard deviation over seeds; {conditions}.",
        ]
    )


def text(spread: dict[str, float], *, percent: bool) -> str:
    """Mean, and its deviation where there are several seeds."""
    factor, digits, unit = (100, 0, " %") if percent else (1, 2 if spread["mean"] < 10 else 1, "")
    shown = [f"{factor * spread['mean']:.{digits}f}"]
    if spread["seeds"] > 1:
        shown.append(f"{factor * spread['deviation']:.{digits}f}")
    return " ± ".join(shown) + unit


def between_marks(path: Path, block: str) -> None:
    """Replace what stands between the marks of ``path``."""
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    whole = path.read_text()
    if not pattern.search(whole):
        raise SystemExit(f"{path} has no marks {BEGIN} … {END}")
    write_text(path, pattern.sub(lambda _: f"{BEGIN}\n\n{block}\n\n{END}", whole))


def draw(path: Path, prompts: tuple[str, ...]) -> None:
    """Clips of the same noise, guided and unguided."""
    folder = MiniatureSystem()
    guided = folder.sampling().settings
    off = AV(ConstantScale(0.0), ConstantScale(0.0))
    alone = replace(guided, joint_scale=off)
    clips: dict[str, AudioVideo] = {}
    model, discriminator = folder.model(), folder.discriminator()
    for seed, prompt in enumerate(prompts, start=SEED):
        for words, settings in (("side by side", alone), ("guided", guided)):
            generation = GenerationRun(model, discriminator, settings, JointGeneration(), SECONDS)
            (clips[f"{prompt} (seed {seed}): {words}"],) = generate(generation, [prompt], [seed])
    draw_clips(path, clips)


if __name__ == "__main__":
    main()
