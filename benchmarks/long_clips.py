"""Clips of 10 s from the embedded pair, which knows 1.6 s: do they keep step, and show no seam?

Run ``python benchmarks/long_clips.py --out docs/embedded/long``: writes ``results.json``,
``README.md``, a picture and the first clip. Held-out captions. Event F1 is of the events seen and
heard in one clip, with shuffled pairs beside it: sound and picture of neighbouring clips. The
detector of seams is held against planted ones.
"""

import argparse
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
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
from mmdisco.generation.windows import overlapping_windows
from mmdisco.io.files import write_json, write_text
from mmdisco.io.reports import versions
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
    """Change of the background's hue at each frame: of the medians of two frames before and after.

    Moving things do not reach the median over the pixels, and flashes change no hue.
    """
    hue = video.frames / np.maximum(video.frames.mean(3, keepdims=True), 0.05)
    before = (hue[:-3] + hue[1:-2]) / 2
    after = (hue[2:-1] + hue[3:]) / 2
    inner = np.median(np.abs(after - before).max(-1), axis=(1, 2))
    return np.pad(inner, 1, mode="edge")  # entry i is the step from frame i to i + 1


def audio_jumps(audio: Audio) -> np.ndarray:
    """Fall of the level from one stretch of 10 ms to the next, in dB above −60 dB of full scale."""
    parts = audio.waveform[: len(audio.waveform) // HOP * HOP].reshape(-1, HOP)
    level = 20 * np.log10(np.maximum(np.sqrt(np.square(parts).mean(1)), 1e-3))
    return -np.diff(level)


def planted(clips: Sequence[AudioVideo]) -> tuple[np.ndarray, np.ndarray]:
    """Jumps of the sound and of the picture where clips are joined.

    The picture changes at half the length of a clip; the sound is cut off 60 ms after its loudest
    moment, and silence follows.
    """
    frames = len(clips[0].video.frames) // 2
    pictures, tones = list[float](), list[float]()
    for one, other in zip(clips, [*clips[1:], clips[0]], strict=True):
        both = np.concatenate([one.video.frames[:frames], other.video.frames[frames:]])
        pictures.append(float(video_jumps(Video(both, one.video.fps))[frames - 1]))
        loudest = int(np.abs(one.audio.waveform).argmax())
        cut = (loudest // HOP + 6) * HOP
        if cut + HOP < len(one.audio.waveform):
            waveform = one.audio.waveform.copy()
            waveform[cut:] = 0
            falls = audio_jumps(Audio(waveform, one.audio.sample_rate))
            tones.append(float(falls[cut // HOP - 1]))
    return np.array(tones), np.array(pictures)


def seams(short: Sequence[AudioVideo], long: Sequence[AudioVideo]) -> dict[str, Any]:
    """How often planted seams, and the ends of windows, exceed what 5 % of all other places do."""
    frames = AV(2, 1).map(lambda own: own * len(long[0].video.frames))
    windows = overlapping_windows(frames, AV(32, 16))
    ends = {one.video.start for one in windows} | {one.video.stop for one in windows}
    inside = np.array(sorted(ends - {0, frames.video}))
    stretch = long[0].audio.sample_rate // HOP / float(long[0].video.fps)
    audio_cuts, video_cuts = planted(short)
    found: dict[str, Any] = {}
    for name, jumps, at, cuts in (
        ("video", [video_jumps(clip.video) for clip in long], inside - 1, video_cuts),
        (
            "audio",
            [audio_jumps(clip.audio) for clip in long],
            (inside * stretch).astype(int) - 1,
            audio_cuts,
        ),
    ):
        elsewhere = np.ones(len(jumps[0]), bool)
        elsewhere[at] = False
        threshold = float(np.quantile([one[elsewhere] for one in jumps], 0.95))
        at_ends = np.concatenate([one[at] for one in jumps])
        found[name] = {
            "threshold": threshold,
            "planted": len(cuts),
            "planted_found": int((cuts > threshold).sum()),
            "ends_of_windows": len(at_ends),
            "found_at_ends": int((at_ends > threshold).sum()),
        }
    return found


def measure(count: int, seconds: Fraction) -> tuple[dict[str, Any], AudioVideo]:
    """Measure everything, and return the first long clip."""
    prompts = [caption_of(HELD_OUT, index).text for index in range(count)]
    rows: dict[str, Any] = {}
    made: dict[str, list[AudioVideo]] = {}
    for name, length in (("short", SHORT), ("long", seconds)):
        sampled(length, prompts[:1], lambda _: JointGeneration(), lambda own: own.joint_scale)
        began = time.process_time()
        joint = sampled(length, prompts, lambda _: JointGeneration(), lambda own: own.joint_scale)
        took = (time.process_time() - began) / count
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
    said = ", ".join(f"{name} {one}" for name, one in results["versions"].items())
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
        f"{said}.",
        "Given sides are those of the joint clips. Shuffled: the sound of the next clip.",
        "",
        "**Seams.** A seam is a change of the background's hue from frame to frame, or a fall of",
        "the sound's level within 10 ms, larger than at 95 % of the places where no window ends.",
        "They are planted by joining halves of two short clips, and by cutting a tone off.",
        "",
        "| | planted | found | ends of windows | found there |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {name} | {one['planted']} | {one['planted_found']} | {one['ends_of_windows']} | "
            f"{one['found_at_ends']} ({one['found_at_ends'] / one['ends_of_windows']:.1%}) |"
            for name, one in found.items()
        ),
        "",
        "5 % are expected where there is no seam.",
        "",
        f"**Cost.** {times:.1f} times the processor time of a short clip; peak memory "
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
    results["versions"] = versions("mmdisco", "torch", "diffusers", "numpy", "scipy")
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / "results.json", results)
    write_text(options.out / "README.md", described(results))
    write_clip(options.out / "first.mp4", first)
    draw_clips(options.out / "first.png", {results["prompts"][0]: first})


if __name__ == "__main__":
    main()
