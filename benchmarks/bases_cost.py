"""What base models of one's own cost on a CPU: ``mmdisco bases``, stage by stage.

Writes ``docs/own_bases.json`` and the table in ``own_bases.md``: CPU seconds of one thread for an
hour of clips decoded and encoded, and of each training by the median of a few updates. Two formats,
of the default settings: that of the embedded pair and that of ``recipes/game``.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import torch

from mmdisco.io.files import read_object, read_text, write_json, write_text
from mmdisco.io.reports import markdown_table, versions
from mmdisco.media.sounding_objects.dataset import example
from mmdisco.media.write import write_clip
from mmdisco.training.bases.config import BasesConfig
from mmdisco.training.bases.run import BasesRun

DOCS: Final = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- cost: begin -->", "<!-- cost: end -->"
STAGES: Final = (
    "text",
    "audio_autoencoder",
    "video_autoencoder",
    "audio_denoiser",
    "video_denoiser",
)
FORMS: Final[dict[str, dict[str, Any]]] = {
    "64×64, 16 frames at 10 fps, 16 kHz": {},
    "96×72, 30 frames at 17.5 fps, 22.05 kHz": {
        "size": "72x96",
        "fps": "35/2",
        "seconds": "12/7",
        "sample_rate": 22_050,
    },
}
HOUR: Final = 3600


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what mmdisco bases costs.")
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--updates", type=int, default=3, help="the first one warms up")
    options = parser.parse_args()
    torch.set_num_threads(1)
    record: dict[str, Any] = {"clips": options.clips, "updates": options.updates, "forms": {}}
    for name, form in FORMS.items():
        with tempfile.TemporaryDirectory() as folder:
            record["forms"][name] = measured(Path(folder), form, options.clips, options.updates)
    record |= {"processor": platform.processor(), **versions("mmdisco", "torch")}
    write_json(DOCS / "own_bases.json", record)
    page = DOCS / "own_bases.md"
    before, _, rest = read_text(page).partition(BEGIN)
    write_text(page, f"{before}{BEGIN}\n{table(record)}\n{END}{rest.partition(END)[2]}")
    print(json.dumps(record, indent=1))


def measured(folder: Path, form: dict[str, Any], clips: int, updates: int) -> dict[str, Any]:
    """CPU seconds per hour of clips and per update, with the updates of a whole training."""
    lines = ["path,caption"]
    for index in range(clips):
        one = example(0, index)
        write_clip(folder / "clips" / f"{index}.mp4", one.clip)
        lines.append(f"{index}.mp4,{one.caption.text}")
    (folder / "captions.csv").write_text("\n".join(lines))
    usual = BasesConfig(source=folder / "clips", out=folder / "pair", **form)
    changes: dict[str, Any] = {f"{stage}.steps": updates for stage in STAGES}
    if usual.form.seconds > 1.6:  # the last frames of the procedural clips are missing
        changes["seconds"] = str(int(1.6 * usual.fps) / usual.fps)
    config = usual.updated({**changes, "captions": str(folder / "captions.csv")})
    laps: dict[str, list[float]] = defaultdict(list)
    since = time.process_time()

    def show(doing: str, done: int, total: int | None, said: str) -> None:
        nonlocal since
        now = time.process_time()
        if done > 1:
            laps[doing].append(now - since)
        since = now

    BasesRun(config, show, lambda line: None).make()
    share = float(config.form.seconds / usual.form.seconds)
    hours = clips * float(config.form.seconds) / HOUR
    encoding = read_object(config.out / "training" / "durations.json")["latents"]
    return {
        "encoding, per hour of clips": round(encoding / hours),
        **{
            stage: {
                "CPU seconds an update": round(
                    statistics.median(laps[doing(stage)]) / (share if "denoiser" in stage else 1), 4
                ),
                "updates": getattr(usual, stage).steps,
            }
            for stage in STAGES
        },
    }


def doing(stage: str) -> str:
    return "text encoder" if stage == "text" else stage.replace("_", " ")


def table(record: dict[str, Any]) -> str:
    rows = []
    for stage in STAGES:
        cells = [one[stage] for one in record["forms"].values()]
        hours = [one["CPU seconds an update"] * one["updates"] / HOUR for one in cells]
        rows.append([doing(stage), *(f"{one:.2f}" for one in hours)])
    whole = [
        sum(one[stage]["CPU seconds an update"] * one[stage]["updates"] for stage in STAGES)
        for one in record["forms"].values()
    ]
    rows.append(["all trainings", *(f"{one / HOUR:.1f}" for one in whole)])
    each = [one["encoding, per hour of clips"] / HOUR for one in record["forms"].values()]
    rows.append(["decoding and encoding, per hour of clips", *(f"{one:.2f}" for one in each)])
    said = (
        f"CPU hours of one thread, by the median of {record['updates'] - 1} updates and "
        f"{record['clips']} clips; mmdisco {record['mmdisco']}, torch {record['torch']}, "
        f"Python {record['python']}: `python benchmarks/bases_cost.py`."
    )
    return f"{markdown_table(('', *record['forms']), rows)}\n\n{said}"


if __name__ == "__main__":
    main()
