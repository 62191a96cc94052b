"""Which metric sees which fault: every fault on sounding objects and on a film, as one table each.

``python benchmarks/degradations.py --film FILM.mp4`` writes ``docs/evaluation/degradations.md`` and
the figures of each set as JSON beside it. A fault is seen where the interval of 95 % has nothing in
common with that of the clips as they are. The film's clips are those the judge of synchrony was not
trained on; its reference is the rest of the film.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from scipy.signal import butter, sosfilt

from mmdisco.embedded.weights import Folder
from mmdisco.files import read_json, sha256, write_json, write_text
from mmdisco.media.clip import Audio, AudioVideo, Video
from mmdisco.media.reading import Selection, read_clip
from mmdisco.metrics.alignment import AvAlign, ObjectsAgreement, Synchrony
from mmdisco.metrics.av_align import CURRENT
from mmdisco.metrics.extractors import (
    AudioStatistics,
    Judge,
    Objects,
    ObjectsAudio,
    ObjectsVideo,
    Peaks,
    VideoStatistics,
)
from mmdisco.metrics.features import AudioFeatures, VideoFeatures
from mmdisco.metrics.fidelity import Frechet, Kernel
from mmdisco.metrics.figure import Figure, Interval
from mmdisco.metrics.film import clips_of, held_out_blocks, training_blocks
from mmdisco.metrics.metric import Metric, Sets
from mmdisco.metrics.readings import Extractor, InMemory
from mmdisco.metrics.sync import load_judge
from mmdisco.objects.dataset import example

OUT = Path(__file__).parent.parent / "docs" / "evaluation"
HELD_OUT = 1_000_003
SEED = 0
CLEAN = "as they are"

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


def hiss(level: float) -> Fault:
    return of_sound(lambda wave, _, rng: wave + level * rng.standard_normal(len(wave)))


def grain(level: float) -> Fault:
    return of_picture(lambda frames, rng: frames + level * rng.standard_normal(frames.shape))


def muffled(wave: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    del rng
    return sosfilt(butter(6, 1000, fs=rate, output="sos"), wave)


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
}


def extractors() -> list[Extractor]:
    folder = Folder()
    return [
        AudioStatistics(),
        VideoStatistics(),
        ObjectsAudio(folder.load("audio_features", AudioFeatures())),
        ObjectsVideo(folder.load("video_features", VideoFeatures())),
        Peaks(),
        Judge(load_judge()),
        Objects(),
    ]


METRICS: dict[str, list[Metric]] = {
    "audio": [
        Frechet("audio-statistics"),
        Kernel("audio-statistics"),
        Frechet("objects-audio"),
        Kernel("objects-audio"),
    ],
    "video": [
        Frechet("video-statistics"),
        Kernel("video-statistics"),
        Frechet("objects-video"),
        Kernel("objects-video"),
    ],
    "pair": [AvAlign(CURRENT), Synchrony(), ObjectsAgreement()],
}


def study(name: str, reference: list[AudioVideo], clips: list[AudioVideo]) -> dict[str, dict]:
    tools = extractors()
    real = InMemory.of(tools, reference)
    found: dict[str, dict] = {}
    for fault, (_, change) in FAULTS.items():
        began = time.monotonic()
        read = InMemory.of(tools, change(clips))
        sets = Sets(read, real, seed=SEED)
        figures = [
            one
            for metrics in METRICS.values()
            for metric in metrics
            for one in metric.measure(sets)
            if isinstance(one, Figure)
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


def columns(found: dict[str, dict]) -> list[str]:
    wanted = ("extrapolated", "kernel", "AV-Align", "AUC", "size of the lag", "F1", "material")
    return [name for name in found[CLEAN] if any(word in name for word in wanted)]


def table(found: dict[str, dict]) -> str:
    names = columns(found)
    short = [
        name.replace("Fréchet distance, ", "Fréchet, ").replace(", extrapolated", "")
        for name in names
    ]
    lines = [f"| fault | {' | '.join(short)} |", f"| --- |{' --- |' * len(names)}"]
    for fault in FAULTS:
        cells = []
        for metric in names:
            value = found[fault][metric]["value"]
            text = "–" if value is None else f"{value:.3g}"
            cells.append(f"**{text}**" if fault != CLEAN and seen(found, fault, metric) else text)
        lines.append(f"| {fault} | {' | '.join(cells)} |")
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
        film = read_clip(options.film, Selection(fps=Fraction(10), sample_rate=16_000))
        steps = len(film.video.frames)
        sets["film"] = (
            clips_of(film, training_blocks(steps))[::2][: options.clips],
            clips_of(film, held_out_blocks(steps))[: options.clips],
        )
    conditions = {
        "clips": {name: [len(part) for part in pair] for name, pair in sets.items()},
        "seed": SEED,
        "film": sha256(options.film) if options.film else None,
        "extractors": {one.name: one.version for one in extractors()},
        "python": platform.python_version(),
        **{name: version(name) for name in ("mmdisco", "numpy", "torch", "librosa")},
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
    parts = [f"## {name.capitalize()}\n\n{table(rows)}" for name, rows in found.items()]
    note = f"Bold: 95 % interval apart from that of the clips {CLEAN}. {json.dumps(conditions)}"
    write_text(
        options.out / "degradations.md",
        "# Which metric sees which fault\n\n" + "\n\n".join([*parts, note]) + "\n",
    )


if __name__ == "__main__":
    main()
