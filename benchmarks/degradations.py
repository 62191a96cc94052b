"""Which metric sees which fault: every fault on sounding objects and on a film, as one table each.

``python benchmarks/degradations.py --film FILM.mp4`` writes ``docs/evaluation/degradations.md`` and
the figures of each set as JSON beside it. A fault is seen where the interval of 95 % has nothing in
common with that of the clips as they are. The film's clips are those the sync scorer was not
trained on; its reference is the rest of the film.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from scipy.signal import butter, sosfilt

from mmdisco.evaluation.metrics.alignment import AvAlign, ObjectsAgreement, Synchrony
from mmdisco.evaluation.metrics.av_align import CURRENT
from mmdisco.evaluation.metrics.base import EvaluationData, Metric
from mmdisco.evaluation.metrics.distances import Whitening
from mmdisco.evaluation.metrics.extractors import (
    AudioStatistics,
    Objects,
    ObjectsAudio,
    ObjectsVideo,
    Peaks,
    SyncEmbeddings,
    VideoStatistics,
)
from mmdisco.evaluation.metrics.features import Extractor, InMemory
from mmdisco.evaluation.metrics.fidelity import PRDC, FrechetDistance, KernelDistance
from mmdisco.evaluation.metrics.memorization import NearestTraining
from mmdisco.evaluation.metrics.result import Interval, MetricResult
from mmdisco.evaluation.metrics.sounding_objects.feature_networks import (
    AudioFeatures,
    VideoFeatures,
)
from mmdisco.evaluation.metrics.sync.scorer import load_scorer
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.io.files import read_json, sha256, write_json, write_text
from mmdisco.io.reports import versions
from mmdisco.media.clip import Audio, AudioVideo, Video
from mmdisco.media.read import ReadSpec, read_clip
from mmdisco.media.sounding_objects.dataset import example

ROOT = Path(__file__).parent.parent
OUT = ROOT / "docs" / "evaluation"
RECIPES = ROOT / "recipes" / "embedded"
HELD_OUT = 1_000_003
SEED = 0
CLEAN = "as they are"
COPIED = "half are copies of the reference"

ARITHMETIC = 5  # raised when a metric changes, for what is kept would be another's

Fault = Callable[[list[AudioVideo]], list[AudioVideo]]


def of_sound(change: Callable[[np.ndarray, int, np.random.Generator], np.ndarray]) -> Fault:
    def fault(clips: list[AudioVideo]) -> list[AudioVideo]:
        changed = []
        for k, clip in enumerate(clips):
            rng = np.random.default_rng((SEED, k))
            wave = change(clip.audio.waveform, clip.audio.sample_rate, rng)
            wave = np.clip(wave, -1, 1).astype(np.float32)
            changed.append(AudioVideo(Audio(wave, clip.audio.sample_rate), clip.video))
        return changed

    return fault


def of_picture(change: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Fault:
    def fault(clips: list[AudioVideo]) -> list[AudioVideo]:
        changed = []
        for k, clip in enumerate(clips):
            frames = change(clip.video.frames, np.random.default_rng((SEED, k)))
            frames = np.ascontiguousarray(np.clip(frames, 0, 1), np.float32)
            changed.append(AudioVideo(clip.audio, Video(frames, clip.video.fps)))
        return changed

    return fault


def shuffled(clips: list[AudioVideo]) -> list[AudioVideo]:
    order = np.random.default_rng(SEED).permutation(len(clips))
    sounds = dict(zip(order.tolist(), np.roll(order, 1).tolist(), strict=True))
    return [AudioVideo(clips[sounds[k]].audio, clip.video) for k, clip in enumerate(clips)]


def late(seconds: float) -> Fault:
    def shift(wave: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
        del rng
        samples = round(seconds * rate)
        return np.concatenate([np.zeros(samples, np.float32), wave[:-samples]])

    return of_sound(shift)


def copied(clips: list[AudioVideo], reference: list[AudioVideo]) -> list[AudioVideo]:
    half = len(clips) // 2
    return reference[:half] + clips[half:]


def one_over_and_over(clips: list[AudioVideo]) -> list[AudioVideo]:
    return [clips[0] if k % 2 else clip for k, clip in enumerate(clips)]


def hiss(level: float) -> Fault:
    return of_sound(lambda wave, _, rng: wave + level * rng.standard_normal(len(wave)))


def grain(level: float) -> Fault:
    return of_picture(lambda frames, rng: frames + level * rng.standard_normal(frames.shape))


def muffled(wave: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    del rng
    return np.asarray(sosfilt(butter(6, 1000, fs=rate, output="sos"), wave))


FAULTS: dict[str, tuple[str, Fault]] = {
    CLEAN: ("", list),
    "picture noise 0.02": ("video", grain(0.02)),
    "picture noise 0.05": ("video", grain(0.05)),
    "picture noise 0.15": ("video", grain(0.15)),
    "blur, 1.5 pixels": ("video", of_picture(lambda f, _: gaussian_filter(f, (0, 1.5, 1.5, 0)))),
    "frames in any order": ("video", of_picture(lambda f, rng: f[rng.permutation(len(f))])),
    "frozen picture": ("video", of_picture(lambda f, _: np.repeat(f[:1], len(f), 0))),
    "sound noise 0.003": ("audio", hiss(0.003)),
    "sound noise 0.01": ("audio", hiss(0.01)),
    "sound noise 0.05": ("audio", hiss(0.05)),
    "low-pass at 1 kHz": ("audio", of_sound(muffled)),
    "silent sound": ("audio", of_sound(lambda wave, _, __: 0 * wave)),
    "sound 0.1 s late": ("pair", late(0.1)),
    "sound 0.2 s late": ("pair", late(0.2)),
    "sound 0.3 s late": ("pair", late(0.3)),
    "sound 0.5 s late": ("pair", late(0.5)),
    "shuffled pairs": ("pair", shuffled),
    "half are one clip": ("set", one_over_and_over),
    COPIED: ("memory", list),
}
STRENGTHS = (
    ("picture noise 0.02", "picture noise 0.05", "picture noise 0.15"),
    ("sound noise 0.003", "sound noise 0.01", "sound noise 0.05"),
)


def extractors() -> list[Extractor]:
    folder = MiniatureSystem()
    return [
        AudioStatistics(),
        VideoStatistics(),
        ObjectsAudio(folder.load("audio_features", AudioFeatures)),
        ObjectsVideo(folder.load("video_features", VideoFeatures)),
        Peaks(),
        SyncEmbeddings(load_scorer()),
        Objects(),
    ]


METRICS: dict[str, list[Metric]] = {
    "audio": [
        FrechetDistance("audio-statistics", Whitening()),
        FrechetDistance("audio-statistics"),
        KernelDistance("audio-statistics"),
        PRDC("audio-statistics"),
        NearestTraining("audio-statistics"),
        FrechetDistance("objects-audio"),
        KernelDistance("objects-audio"),
    ],
    "video": [
        FrechetDistance("video-statistics", Whitening()),
        FrechetDistance("video-statistics"),
        KernelDistance("video-statistics"),
        PRDC("video-statistics"),
        NearestTraining("video-statistics"),
        FrechetDistance("objects-video"),
        KernelDistance("objects-video"),
    ],
    "pair": [AvAlign(CURRENT), Synchrony(), ObjectsAgreement()],
}


def study(name: str, reference: list[AudioVideo], clips: list[AudioVideo]) -> dict[str, dict]:
    tools = extractors()
    real = InMemory.of(tools, reference)
    found: dict[str, dict] = {}
    for fault, (_, change) in FAULTS.items():
        began = time.monotonic()
        faulty = copied(clips, reference) if fault == COPIED else change(clips)
        read = InMemory.of(tools, faulty)
        sets = EvaluationData(read, real, seed=SEED)
        figures = [
            one
            for metrics in METRICS.values()
            for metric in metrics
            for one in metric.measure(sets)
            if isinstance(one, MetricResult)
        ]
        found[fault] = {one.name: one.record() for one in figures}
        print(f"{name}: {fault}, {time.monotonic() - began:.0f} s", flush=True)
    return found


def seen(found: dict[str, dict], fault: str, metric: str) -> bool | None:
    intervals = [found[name][metric]["interval"] for name in (fault, CLEAN)]
    if None in intervals or None in intervals[0] + intervals[1]:
        return None
    first, second = (Interval(*one) for one in intervals)
    return first.apart(second)


def side_of(metric: str) -> str:
    if "nearest" in metric:
        return "memory"
    if "recall" in metric or "coverage" in metric:
        return "set"
    sides = {"audio": "audio", "video": "video"}
    return next((side for word, side in sides.items() if word in metric), "pair")


def names_of(found: dict[str, dict]) -> list[str]:
    wanted = (
        "extrapolated",
        "kernel",
        "precision",
        "density",
        "recall",
        "coverage",
        "share that is close",
    )
    wanted += ("AV-Align", "AUC", "size of the lag", "F1", "same material")
    return [name for name in found[CLEAN] if any(word in name for word in wanted)]


def expected(metric: str) -> list[str]:
    """The faults that a metric is for."""
    side = side_of(metric)
    sides = {"set": ("set",), "memory": ("memory",)}.get(side, (side,))
    return [fault for fault, (kind, _) in FAULTS.items() if kind in sides]


def in_order(found: dict[str, dict], metric: str) -> str:
    """Whether the strengths of a noise come out in order, each apart from the one before."""
    side = side_of(metric)
    for strengths in STRENGTHS:
        if FAULTS[strengths[0]][0] == side:
            rows = [found[name][metric]["interval"] for name in (CLEAN, *strengths)]
            if any(row is None or None in row for row in rows):
                return ""
            lower = found[CLEAN][metric]["higher is better"] is False
            rows = rows if lower else [[-high, -low] for low, high in rows]
            apart = sum(after[0] > before[1] for before, after in pairwise(rows))
            values = [found[name][metric]["value"] for name in (CLEAN, *strengths)]
            rising = sorted(values, reverse=not lower) == values
            return f"{apart} of 3 steps apart{'' if rising else ', not in order'}"
    return ""


def summary(found: dict[str, dict]) -> str:
    lines = [
        "| metric | sees | does not see | noise at three strengths |",
        "| --- | --- | --- | --- |",
    ]
    for metric in names_of(found):
        faults = expected(metric)
        told = [fault for fault in faults if seen(found, fault, metric)]
        missed = [fault for fault in faults if fault not in told]
        cells = (metric, ", ".join(told) or "–", ", ".join(missed) or "–", in_order(found, metric))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def table(found: dict[str, dict]) -> str:
    names = names_of(found)
    lines = [f"| metric | {' | '.join(FAULTS)} |", f"| --- |{' --- |' * len(FAULTS)}"]
    for metric in names:
        cells = []
        for fault in FAULTS:
            value = found[fault][metric]["value"]
            text = "–" if value is None else f"{value:.3g}"
            cells.append(f"**{text}**" if fault != CLEAN and seen(found, fault, metric) else text)
        lines.append(f"| {metric} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Which metric sees which fault.")
    parser.add_argument("--film", type=Path)
    parser.add_argument("--clips", type=int, default=120, help="Of each set.")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    sets = {
        "sounding objects": (
            [example(HELD_OUT + 5, k).clip for k in range(options.clips)],
            [example(HELD_OUT + 6, k).clip for k in range(options.clips)],
        )
    }
    if options.film:
        sys.path.insert(0, str(RECIPES))
        from film_clips import clips_of, held_out_blocks, training_blocks

        film = read_clip(options.film, ReadSpec(fps=Fraction(10), sample_rate=16_000))
        steps = len(film.video.frames)
        sets["film"] = (
            clips_of(film, training_blocks(steps))[::2][: options.clips],
            clips_of(film, held_out_blocks(steps))[: options.clips],
        )
    conditions = {
        "clips": {name: [len(part) for part in pair] for name, pair in sets.items()},
        "arithmetic": ARITHMETIC,
        "seed": SEED,
        "film": sha256(options.film) if options.film else None,
        "extractors": {one.name: one.version for one in extractors()},
        **versions("mmdisco", "numpy", "torch", "librosa"),
    }
    found = {}
    for name, pair in sets.items():
        # a set is minutes of work: kept when it is done, made again under other conditions
        file = options.out / f"degradations {name}.json".replace(" ", "_")
        kept = read_json(file) if file.is_file() else {}
        if kept.get("conditions") != conditions:
            kept = {"conditions": conditions, "figures": study(name, *pair)}
            write_json(file, kept)
        found[name] = kept["figures"]
    parts = [
        f"## {name.capitalize()}\n\n{summary(rows)}\n\n{table(rows)}"
        for name, rows in found.items()
    ]
    on_log = f"Bold: 95 % interval apart from that of the clips {CLEAN}. {json.dumps(conditions)}"
    write_text(
        options.out / "degradations.md",
        "# Which metric sees which fault\n\n" + "\n\n".join([*parts, on_log]) + "\n",
    )


if __name__ == "__main__":
    main()
