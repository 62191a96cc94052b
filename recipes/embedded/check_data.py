"""Measures the sounding-objects data: do sound and picture of real clips agree, and only they?

Run ``python recipes/embedded/check_data.py --clips 512 --seed 0 --out runs/check_data``: it prints
a Markdown table and writes the same as JSON beside a contact sheet of eight clips. Several clips
share each caption, so that sounds can be recombined within it.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from mmdisco.evaluation.metrics.sounding_objects.agreement import (
    Reading,
    agreement,
    as_record,
    read,
    same_caption_shuffle,
    shuffle,
)
from mmdisco.io.reports import versions
from mmdisco.media.clip import Audio, AudioVideo, Video
from mmdisco.media.mel import MelScale
from mmdisco.media.plots import draw_clips
from mmdisco.media.sounding_objects.dataset import Example, caption_of, example_of

CLIPS_PER_CAPTION = 8
COLUMNS = (
    "event_f1",
    "event_f1_loose",
    "exact",
    "material",
    "material_free",
    "size",
    "size_free",
    "kind",
    "caption_kind",
    "caption_kind_heard",
    "caption_colour",
    "caption_size",
    "caption_count",
    "events_seen",
    "events_heard",
)


@dataclass(frozen=True)
class Options:
    """What to measure."""

    clips: int
    seed: int
    out: Path


def main() -> None:
    """Read the command line, measure, print and write."""
    parser = argparse.ArgumentParser(description="Check the sounding-objects data.")
    parser.add_argument("--clips", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/check_data"))
    options = Options(**vars(parser.parse_args()))
    torch.set_num_threads(1)
    report, drawn = measure(options)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "check_data.json").write_text(json.dumps(report, indent=2) + "\n")
    draw_clips(options.out / "check_data.png", drawn)
    sys.stdout.write(table(report) + "\n")


def measure(options: Options) -> tuple[dict[str, Any], dict[str, AudioVideo]]:
    """Every row of the table with its conditions, and eight clips to look at."""
    started = time.perf_counter()
    examples = [
        example_of(
            caption_of(options.seed, index // CLIPS_PER_CAPTION).named, options.seed + 1, index
        )
        for index in range(options.clips)
    ]
    making = (time.perf_counter() - started) / options.clips
    real = [read(e.clip, e.caption.named) for e in examples]
    soft = [read(worse_picture(e.clip, i, 0.0), e.caption.named) for i, e in enumerate(examples)]
    noisy = [read(worse_picture(e.clip, i, 0.03), e.caption.named) for i, e in enumerate(examples)]
    heard = [
        read(clip, e.caption.named) for clip, e in zip(through_mel(examples), examples, strict=True)
    ]
    both = [Reading(n.sight, h.hearing, n.named) for n, h in zip(noisy, heard, strict=True)]
    rows: dict[str, list[Reading]] = {
        "real": real,
        "32 × 32 and back": soft,
        "and noise σ = 0.03": noisy,
        "sound through mel and Griffin-Lim": heard,
        "both": both,
        "recombined within the caption": same_caption_shuffle(real, options.seed),
        "shuffled": shuffle(real, options.seed),
    }
    report = {
        "conditions": conditions(options, making),
        "against the truth": truth(examples, real),
        "rows": {name: {"n": len(r), **as_record(agreement(r))} for name, r in rows.items()},
    }
    return report, {e.caption.text: e.clip for e in examples[:: options.clips // 8 or 1][:8]}


def conditions(options: Options, making: float) -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "clips": options.clips,
        "seed": options.seed,
        "clips per caption": CLIPS_PER_CAPTION,
        **versions("mmdisco", "numpy", "scipy", "torch", "pillow"),
        "milliseconds to make a clip": round(1000 * making, 2),
    }


def truth(examples: list[Example], readings: list[Reading]) -> dict[str, float]:
    """How far the readings are from what the clips were made from."""
    seen: list[float] = []
    heard: list[float] = []
    for item, reading in zip(examples, readings, strict=True):
        times = np.array([event.time for event in item.scene.events])
        for errors, events in ((seen, reading.sight.events), (heard, reading.hearing.events)):
            if len(events) == len(times):
                errors.extend(np.abs(events - times))
    return {
        "95 % of seen events within seconds": float(np.quantile(seen, 0.95)),
        "95 % of heard events within seconds": float(np.quantile(heard, 0.95)),
        "seen counts right": float(
            np.mean(
                [
                    len(r.sight.events) == len(e.scene.events)
                    for r, e in zip(readings, examples, strict=True)
                ]
            )
        ),
    }


def worse_picture(clip: AudioVideo, seed: int, sigma: float) -> AudioVideo:
    """Frames scaled to half size and back in 8 bits, then given Gaussian noise."""
    _, height, width, _ = clip.video.frames.shape
    small = [
        Image.fromarray((frame * 255).round().astype(np.uint8))
        .resize((width // 2, height // 2), Image.Resampling.BOX)
        .resize((width, height), Image.Resampling.BILINEAR)
        for frame in clip.video.frames
    ]
    frames = np.stack([np.asarray(image) for image in small]).astype(np.float32) / 255
    noise = np.random.default_rng(seed).normal(0, sigma, frames.shape)
    worse = np.asarray(np.clip(frames + noise, 0, 1), np.float32)
    return AudioVideo(clip.audio, Video(worse, clip.video.fps))


def through_mel(examples: list[Example]) -> list[AudioVideo]:
    """The clips with their sound analysed to mel and synthesised again."""
    scale, clips = MelScale(), []
    for start in range(0, len(examples), 32):
        part = examples[start : start + 32]
        waveforms = torch.from_numpy(np.stack([e.clip.audio.waveform for e in part]))
        again = scale.synthesise(scale.analyse(waveforms)).numpy()
        clips += [
            AudioVideo(Audio(w, scale.sample_rate), e.clip.video)
            for w, e in zip(again, part, strict=True)
        ]
    return clips


def table(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    lines = [
        "| pairs | n | " + " | ".join(name.replace("_", " ") for name in COLUMNS) + " |",
        "| --- | --- | " + " | ".join("---" for _ in COLUMNS) + " |",
    ]
    for name, row in report["rows"].items():
        cells = (f"{row[column]['value']:.3f}" for column in COLUMNS)
        lines.append(f"| {name} | {row['n']} | " + " | ".join(cells) + " |")
    facts = {**report["conditions"], **report["against the truth"]}
    notes = ", ".join(
        f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in facts.items()
    )
    return "\n".join([*lines, "", notes])


if __name__ == "__main__":
    main()
