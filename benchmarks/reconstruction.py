"""What the embedded pair keeps of clips that it knows and of others: the reason of two limits.

    python benchmarks/reconstruction.py [FILE …] --out docs/reconstruction.json

Encodes and decodes clips that were drawn like those of its training, pictures and sounds of waves,
and ``--clips`` clips spread over each FILE, or over the files of a folder. The limits are
``LEAST_VARIANCE`` and ``MOST_MEL_DISTANCE`` of ``media/reconstruction.py``.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from mmdisco.adapters.miniature import FORM, FPS, SAMPLE_RATE
from mmdisco.core.denoiser import JointModel
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.io.files import write_json
from mmdisco.io.reports import versions
from mmdisco.media.clip import Audio, AudioVideo, Video
from mmdisco.media.probe import VideoInfo, probe
from mmdisco.media.reconstruction import (
    LEAST_VARIANCE,
    MOST_MEL_DISTANCE,
    PictureReconstruction,
    SoundReconstruction,
)
from mmdisco.media.sounding_objects.dataset import example
from mmdisco.media.windows import read_clips

UNSEEN = 99  # seed of clips that no training drew


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="Measure what the embedded pair keeps of clips.")
    parser.add_argument("files", type=Path, nargs="*")
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--out", type=Path)
    o = parser.parse_args()
    sets = {
        "its own kind": [example(UNSEEN, index).clip for index in range(o.clips)],
        "waves": [waves(seed) for seed in range(o.clips)],
        **{path.stem: list(clips_of(path, o.clips)) for path in o.files},
    }
    model = MiniatureSystem().model()
    found = {name: measures(model, clips) for name, clips in sets.items()}
    for name, one in found.items():
        print(name, one)
    if o.out:
        limits = {"variance": LEAST_VARIANCE, "mel_distance": MOST_MEL_DISTANCE}
        record = {"limits": limits, "sets": found, "versions": versions("mmdisco", "torch")}
        write_json(o.out, record)


def measures(model: JointModel, clips: Sequence[AudioVideo]) -> dict[str, object]:
    """Return least, median and most of each measure, and the seconds that a clip takes."""
    begin = time.process_time()
    pictures = model.decode_video(model.encode_video([one.video for one in clips]))
    sounds = model.decode_audio(model.encode_audio([one.audio for one in clips]))
    seen = [
        PictureReconstruction.of(one.video, two) for one, two in zip(clips, pictures, strict=True)
    ]
    heard = [SoundReconstruction.of(one.audio, two) for one, two in zip(clips, sounds, strict=True)]
    # a clip without a sound says nothing of sounds
    loud = [one for one, clip in zip(heard, clips, strict=True) if not clip.audio.is_silent]
    return {
        "clips": len(clips),
        "psnr": spread([one.psnr for one in seen]),
        "variance": spread([one.variance for one in seen]),
        "mel_distance": spread([one.mel_distance for one in loud]),
        "onset_f1": spread([one.onset_f1 for one in loud if one.onset_f1 is not None]),
        "cpu_seconds_a_clip": round((time.process_time() - begin) / len(clips), 2),
    }


def spread(values: list[float]) -> list[float]:
    ordered = sorted(values)
    return [round(ordered[k], 2) for k in (0, len(ordered) // 2, -1)] if ordered else []


def waves(seed: int) -> AudioVideo:
    """Return moving waves of every colour, with a rich tone that swells four times a second."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: FORM.size[0], : FORM.size[1]] / FORM.size[0]
    terms = rng.uniform((6, 6, 0), (27, 27, 6), (3, 3))
    frames = [
        np.stack([np.sin(a * x + b * y + c + 0.4 * n) for a, b, c in terms], -1) / 2 + 0.5
        for n in range(FORM.frames)
    ]
    t = np.arange(round(FORM.seconds * SAMPLE_RATE)) / SAMPLE_RATE
    pitch = rng.uniform(100, 300)
    sound = sum(np.sin(2 * np.pi * k * (pitch * t + 5 * np.sin(6 * t))) / k for k in range(1, 20))
    swell = 0.1 * (0.5 + 0.5 * np.sin(2 * np.pi * 4 * t))
    return AudioVideo(
        Audio((swell * sound).astype(np.float32), SAMPLE_RATE),
        Video(np.stack(frames).astype(np.float32), FPS),
    )


def clips_of(path: Path, count: int) -> Iterator[AudioVideo]:
    """Yield clips spread over a file, or one of each of the files of a folder."""
    if path.is_dir():
        files = sorted(one for one in path.iterdir() if isinstance(probe(one), VideoInfo))
        places = [(files[k * len(files) // count], Fraction(0)) for k in range(count)]
    else:
        info = probe(path)
        assert isinstance(info, VideoInfo), info
        room = Fraction(info.seconds) - FORM.seconds
        places = [(path, room * k // count) for k in range(count)]
    for file, start in places:
        for one in read_clips(file, [Fraction(start)], FORM):
            if isinstance(one, AudioVideo):
                yield one


if __name__ == "__main__":
    main()
