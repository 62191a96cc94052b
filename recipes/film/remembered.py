"""Whether generated clips are copies: how far each is from the nearest clip of the training.

Cuts training and held-out clips of the film out as files, at the form of the preset, and lets
``mmdisco evaluate`` compare generated clips with both.
"""

from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from mmdisco.cli.evaluate import execute
from mmdisco.data.prepared import PreparedFolder
from mmdisco.evaluation.config import EvaluationConfig
from mmdisco.io.files import read_json
from mmdisco.media.clip import AudioVideo, ClipSpec
from mmdisco.media.windows import read_clips
from mmdisco.media.write import write_clip

EVERY: Final = {"train": 2, "validation": 8}  # of overlapping clips one in so many


def remember(out: Path) -> dict[str, Any]:
    """The evaluation of ``out/clips``; ``out/evaluation.json``, made once."""
    kept = out / "evaluation.json"
    if not kept.exists():
        for part, every in EVERY.items():
            cut(out, part, every)
        config = EvaluationConfig(
            generated=out / "clips",
            reference=out / "cut" / "validation",
            training=out / "cut" / "train",
            metrics=("nearest",),
            size=(64, 64),
            rate=16_000,
            json_file=kept,
            jobs=1,
            cache=out / "cache",
        )
        execute(config)
    return read_json(kept)


def cut(out: Path, part: str, every: int) -> None:
    """Write one of so many clips of a part of the film, in one pass through it."""
    prepared = PreparedFolder(out / "data")
    starts = [line["start"] for line in prepared.manifest[part]]
    chosen = sorted(Fraction(str(start)) for start in starts)[::every]
    paths = [out / "cut" / part / f"{float(start):07.2f}.mp4" for start in chosen]
    if not all(path.exists() for path in paths):
        clips = read_clips(out / "bbb.mp4", chosen, form_of(prepared.about))
        for path, clip in zip(paths, clips, strict=True):
            if isinstance(clip, AudioVideo):
                write_clip(path, clip)


def form_of(about: dict[str, Any]) -> ClipSpec:
    """The clips of a prepared folder."""
    size = (int(about["size"][0]), int(about["size"][1]))
    seconds, fps = (Fraction(str(about[name])) for name in ("seconds", "fps"))
    return ClipSpec(seconds, fps, size, int(about["sample_rate"]))
