"""Clips of 10 s from the embedded pair, which knows 1.6 s: do they keep step, and show no seam?

Run ``python benchmarks/long_clips.py --out docs/embedded/long``: writes ``results.json``,
``README.md``, a picture and the first clip. Held-out captions. Event F1 is of the events seen and
heard in one clip, with ``--shuffled`` pairs beside it: sound and picture of neighbouring clips. A
seam is planted where the first halves of short clips are joined end to end; the detector's
threshold is the lowest that finds nothing in any unguided short clip.
"""

import argparse
import platform
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from mmdisco.core.av import AV
from mmdisco.evaluation.metrics.sounding_objects.agreement import event_f1
from mmdisco.evaluation.metrics.sounding_objects.detect_audio import detect_audio
from mmdisco.evaluation.metrics.sounding_objects.detect_video import detect_video
from mmdisco.experiments.miniature.evaluation import HELD_OUT
from mmdisco.generation.pipeline import (
    AudioToVideo,
    GenerationRun,
    JointGeneration,
    Task,
    VideoToAudio,
    generate,
)
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.generation.system import SamplingDefaults
from mmdisco.io.files import write_json, write_text
from mmdisco.media.clip import Audio, AudioVideo, Video
from mmdisco.media.plots import draw_clips
from mmdisco.media.sounding_objects.dataset import caption_of
from mmdisco.media.write import write_clip

SEED = 0
SHORT = Fraction(8, 5)
TOLERANCE = 0.1  # s, as in the table of the pair
HOP = 160  # samples; 10 ms


def sampled(
    seconds: Fraction,
    prompts: Sequence[str],
    task: Callable[[int], Task],
    scale: Callable[[SamplingDefaults], AV[float]],
) -> list[AudioVideo]:
    """Generate a clip for each prompt, one at a time."""
    system = MiniatureSystem(seconds=seconds)
    defaults = system.sampling()
    settings = replace(defaults, joint_scale=scale(defaults)).settings
    clips: list[AudioVideo] = []
    for index, prompt in enumerate(prompts):
        run = GenerationRun(
            system.model(),
            system.discriminator(),
            settings,
            task(index),
            float(seconds),
            method=system.method,
        )
        clips += generate(run, [prompt], [SEED + index])
    return clips


def agreement(clips: Sequence[AudioVideo]) -> dict[str, float]:
    """Event F1 of clips, of neighbours' pairs, and how many events a second are seen and heard."""
    seen = [detect_video(clip.video).events for clip in clips]
    heard = [detect_audio(clip.audio).events for clip in clips]
    scores = [event_f1(a, b, TOLERANCE) for a, b in zip(seen, heard, strict=True)]
    others = [event_f1(a, b, TOLERANCE) for a, b in zip(seen, heard[1:] + heard[:1], strict=True)]
    seconds = sum(float(clip.video.seconds) for clip in clips)
    return {
        "event_f1": float(np.mean(scores)),
        "standard_error": float(np.std(scores, ddof=1) / np.sqrt(len(scores))),
        "shuffled": float(np.mean(others)),
        "seen_a_second": sum(map(len, seen)) / seconds,
        "heard_a_second": sum(map(len, heard)) / seconds,
    }


def video_jumps(video: Video) -> np.ndarray:
    """Median over the pixels of the change from frame to frame: moving things do not reach it."""
    return np.median(np.abs(np.diff(video.frames, axis=0)).max(-1), axis=(1, 2))


def audio_jumps(audio: Audio) -> np.ndarray:
    """Fall of the level from one stretch of 10 ms to the next, in dB above −60 dB of full scale."""
    parts = audio.waveform[: len(audio.waveform) // HOP * HOP].reshape(-1, HOP)
    level = 20 * np.log10(np.maximum(np.sqrt(np.square(parts).mean(1)), 1e-3))
    return -np.diff(level)


def joined(clips: Sequence[AudioVideo]) -> AudioVideo:
    """First halves of clips, end to end: a clip with a seam at every joint."""
    frames = [clip.video.frames[:8] for clip in clips]
    samples = [clip.audio.waveform[:12_800] for clip in clips]
    first = clips[0]
    return AudioVideo(
        Audio(np.concatenate(samples), first.audio.sample_rate),
        Video(np.concatenate(frames), first.video.fps),
    )


def seams(short: Sequence[AudioVideo], long: Sequence[AudioVideo]) -> dict[str, Any]:
    """How many planted seams are found, and how many in long clips."""
    planted = joined(short)
    sounding = planted.audio.waveform.reshape(-1, 12_800)[:-1, -HOP:]
    audible = np.sqrt(np.square(sounding).mean(1)) > 0.01  # where there is a sound to be cut off
    at_video = np.arange(1, len(short)) * 8 - 1
    at_audio = (np.arange(1, len(short)) * 12_800 // HOP - 1)[audible]
    found: dict[str, Any] = {}
    for name, jumps, at in (
        ("video", lambda clip: video_jumps(clip.video), at_video),
        ("audio", lambda clip: audio_jumps(clip.audio), at_audio),
    ):
        threshold = float(max(jumps(clip).max() for clip in short))
        hits = jumps(planted)[at] > threshold
        per_clip = [int((jumps(clip) > threshold).sum()) for clip in long]
        found[name] = {
            "threshold": threshold,
            "planted": len(at),
            "planted_found": int(hits.sum()),
            "found_in_long_clips": sum(per_clip),
            "places": sum(len(jumps(clip)) for clip in long),
        }
    return found


def measure(count: int, seconds: Fraction) -> tuple[dict[str, Any], AudioVideo]:
    """Measure everything, and return the first long clip."""
    prompts = [caption_of(HELD_OUT, index).text for index in range(count)]
    rows: dict[str, Any] = {}
    made: dict[str, list[AudioVideo]] = {}
    for name, length in (("short", SHORT), ("long", seconds)):
        sampled(length, prompts[:1], lambda _: JointGeneration(), lambda own: own.joint_scale)
        began = time.monotonic()
        joint = sampled(length, prompts, lambda _: JointGeneration(), lambda own: own.joint_scale)
        took = (time.monotonic() - began) / count
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        made[name] = joint
        rows[name] = {
            "seconds_a_clip": took,
            "peak_megabytes": peak,
            "joint": agreement(joint),
            "video to audio": agreement(
                sampled(
                    length,
                    prompts,
                    lambda i, all_=joint: VideoToAudio([all_[i].video], [all_[i].video]),
                    lambda own: AV(own.video_to_audio, 0.0),
                )
            ),
            "audio to video": agreement(
                sampled(
                    length,
                    prompts,
                    lambda i, all_=joint: AudioToVideo([all_[i].audio], [all_[i].audio]),
                    lambda own: AV(0.0, own.audio_to_video),
                )
            ),
        }
    about = {"clips": count, "seconds": float(seconds), "seed": SEED, "prompts": prompts[:1]}
    return about | {"rows": rows, "seams": seams(made["short"], made["long"])}, made["long"][0]


def described(results: dict[str, Any]) -> str:
    """Write the page."""
    rows, found = results["rows"], results["seams"]
    versions = ", ".join(f"{name} {one}" for name, one in results["versions"].items())
    lines = [
        f"# Clips of {results['seconds']:g} s",
        "",
        "Written by `python benchmarks/long_clips.py`. The embedded pair and its discriminator",
        "know clips of 1.6 s. A longer one is made in windows of that length which overlap by a",
        "half: at every step each window is denoised by itself, joint guidance included, and the",
        "predicted noises are averaged where windows overlap, sound and picture at the same",
        "instants ([windows.py](../../../src/mmdisco/generation/windows.py)). At high noise the",
        "windows share the mean picture, so that they settle on one scene.",
        "",
        "| | clips of | event F1 | shuffled | events seen a second | heard |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for task in ("joint", "video to audio", "audio to video"):
        for name, length in (("short", 1.6), ("long", results["seconds"])):
            one = rows[name][task]
            score = f"{one['event_f1']:.2f} ± {one['standard_error']:.2f}"
            rates = f"{one['seen_a_second']:.2f} | {one['heard_a_second']:.2f}"
            lines.append(f"| {task} | {length:g} s | {score} | {one['shuffled']:.2f} | {rates} |")
    short, long = rows["short"], rows["long"]
    times = long["seconds_a_clip"] / short["seconds_a_clip"]
    more = long["peak_megabytes"] - short["peak_megabytes"]
    lines += [
        "",
        f"Mean ± standard error over {results['clips']} clips of held-out captions, seeds from "
        f"{results['seed']},",
        f"{versions}. Given sides are those of the joint clips. Shuffled: the sound of the next",
        "clip.",
        "",
        "**Seams.** They are planted between first halves of short clips; a threshold is the",
        "largest value in any short clip.",
        "",
        "| | planted | found | found in long clips | of |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {name} | {one['planted']} | {one['planted_found']} | {one['found_in_long_clips']} "
            f"| {one['places']} |"
            for name, one in found.items()
        ),
        "",
        f"**Cost.** {times:.1f} times the time of a short clip; peak memory "
        f"{short['peak_megabytes']:.0f} MB for short clips, {more:.0f} MB",
        "more for long ones.",
        "",
        "![The first clip](first.png)",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--seconds", type=Fraction, default=Fraction(10))
    options = parser.parse_args()
    results, first = measure(options.clips, options.seconds)
    libraries = ("mmdisco", "torch", "diffusers", "numpy", "scipy")
    results["versions"] = {"python": platform.python_version()} | {
        name: version(name) for name in libraries
    }
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / "results.json", results)
    write_text(options.out / "README.md", described(results))
    write_clip(options.out / "first.mp4", first)
    draw_clips(options.out / "first.png", {results["prompts"][0]: first})


if __name__ == "__main__":
    main()
