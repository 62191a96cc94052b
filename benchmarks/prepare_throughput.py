"""How fast films become clips, and how much memory a long one takes; encoding to latents apart.

Makes a film of 720p at 24 frames a second with stereo sound, or takes that of ``--film``, and takes
all its clips as ``mmdisco prepare`` does (decode, cut and scale, resample, judge): how many times
faster than real time is that? With ``--hours`` a long film of small pictures follows, whose clips
are taken block by block: what memory is needed beyond that of the first block is said.

    python benchmarks/prepare_throughput.py --out docs/prepare_throughput.json
"""

import argparse
import json
import os
import platform
import resource
import statistics
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from mmdisco.data.config import PrepareConfig
from mmdisco.data.prepare.encode import decode_clips, skip_reason
from mmdisco.data.prepare.encode import statistics as figures
from mmdisco.data.prepare.layouts import SingleVideo
from mmdisco.data.prepare.plan import PreparePlan
from mmdisco.data.prepare.planning import make_plan
from mmdisco.data.prepare.sources import NoCaptions
from mmdisco.io.files import write_json
from mmdisco.media.clip import ClipSpec
from mmdisco.media.probe import SkipReason, probe

FORMS = {
    "embedded": ClipSpec(Fraction(8, 5), Fraction(10), (64, 64), 16_000),
    "256x256 at 8 fps": ClipSpec(Fraction(2), Fraction(8), (256, 256), 16_000),
}
SHARD = 64


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="Measure how fast films become clips.")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--codec", default="libx264")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--hours", type=float, default=0.0)
    parser.add_argument("--film", type=Path, help="a film to take instead of making one")
    parser.add_argument("--out", type=Path)
    o = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = o.film or Path(folder) / "film.mp4"
        if not o.film:
            make_film(path, o.seconds, o.codec)
        seconds, said = looked_at(path)
        rows = [row(path, seconds, name, form, o.repeats) for name, form in FORMS.items()]
        memory = None
        if o.hours:
            path = Path(folder) / "long.mp4"
            make_film(path, round(o.hours * 3600), "mpeg4", size=(36, 64), fps=4)
            memory = {"hours": o.hours, **growth(path)}
    record = {
        "film": said,
        "cores": len(os.sched_getaffinity(0)),
        "processor": platform.machine(),
        "rows": rows,
        "memory": memory,
    }
    print(json.dumps(record, indent=1))
    if o.out:
        write_json(o.out, record)


def make_film(
    path: Path, seconds: int, codec: str, size: tuple[int, int] = (720, 1280), fps: int = 24
) -> None:
    """A picture with detail that slides, a cut every 5 s; a chirp on two channels."""
    height, width = size
    rate = 48_000
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        options = {"preset": "ultrafast"} if codec == "libx264" else {}
        picture = container.add_stream(codec, rate=fps, options=options)
        assert isinstance(picture, av.VideoStream)
        picture.height, picture.width, picture.pix_fmt = height, width, "yuv420p"
        picture.bit_rate = 4_000_000 if height > 100 else 40_000
        sound = container.add_stream("aac", rate=rate, layout="stereo")
        for second in range(seconds):
            if second % 5 == 0:
                coarse = rng.integers(0, 255, (-(-height // 8), -(-width // 8) + 99), np.uint8)
                scene = coarse.repeat(8, 0).repeat(8, 1)
            for step in range(fps):
                at = 4 * ((second % 5) * fps + step)
                grey = np.ascontiguousarray(scene[:height, at : at + width])
                frame = av.VideoFrame.from_ndarray(grey, format="gray").reformat(format="yuv420p")
                frame.pts, frame.time_base = second * fps + step, Fraction(1, fps)
                container.mux(picture.encode(frame))
            t = second + np.arange(rate) / rate
            wave = (0.3 * np.sin(2 * np.pi * (300 + 10 * (t % 60)) * t)).astype(np.float32)
            block = av.AudioFrame.from_ndarray(np.stack([wave, wave]), "fltp", "stereo")
            block.sample_rate, block.pts = rate, second * rate
            block.time_base = Fraction(1, rate)
            container.mux(sound.encode(block))
        container.mux(picture.encode())
        container.mux(sound.encode())


def planned(path: Path, form: ClipSpec) -> PreparePlan:
    """The plan of one film, all for training."""
    config = PrepareConfig(source=path, out=path.parent, validation=0.0)
    *_, plan = make_plan(SingleVideo(path, NoCaptions()), form, config)
    if not isinstance(plan, PreparePlan):
        raise RuntimeError("a plan is what comes last")
    return plan


def looked_at(path: Path) -> tuple[float, str]:
    """How long a film lasts, in seconds, and what its tracks are."""
    film = probe(path)
    if isinstance(film, SkipReason):
        raise SystemExit(f"{path}: {film.category}, {film.detail}")
    with av.open(str(path)) as container:
        picture, sound = container.streams.video[0], container.streams.audio[0]
        form = f"{picture.width}x{picture.height} at {float(picture.average_rate or 0):g} fps"
        names = f"{picture.codec_context.name} and {sound.codec_context.name}"
        seconds = float(film.seconds)
        return seconds, f"{path.name}: {seconds:.0f} s of {form}, {names}, {sound.rate} Hz"


def row(path: Path, seconds: float, name: str, form: ClipSpec, repeats: int) -> dict[str, object]:
    """Times real time, by the wall and by the processor, in the median."""
    walls: list[float] = []
    busy: list[float] = []
    clips = 0
    for _ in range(repeats):
        wall, cpu, clips = time.perf_counter(), time.process_time(), 0
        for block in planned(path, form).blocks(SHARD):
            for _, _, found in decode_clips(block, form):
                if not isinstance(found, SkipReason) and skip_reason(found) is None:
                    figures(found)
                    clips += 1
        walls.append(time.perf_counter() - wall)
        busy.append(time.process_time() - cpu)
    return {
        "form": name,
        "clips": clips,
        "times_real_time": round(seconds / statistics.median(walls), 1),
        "film_seconds_per_processor_second": round(seconds / statistics.median(busy), 1),
    }


def growth(path: Path) -> dict[str, object]:
    """Peak memory after the first block and after all, in MB."""
    form = FORMS["embedded"]
    peaks: list[float] = []
    clips = 0
    for block in planned(path, form).blocks(SHARD):
        clips += sum(not isinstance(found, SkipReason) for _, _, found in decode_clips(block, form))
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return {
        "clips": clips,
        "peak_after_first_block": round(peaks[0]),
        "peak_after_all": round(peaks[-1]),
    }


if __name__ == "__main__":
    main()
