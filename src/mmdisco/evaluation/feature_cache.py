"""What extractors gave, one small safetensors file a clip, so that no clip is read twice.

The name of the file follows from the clip's path, size, time of change and the way it is read; a
changed clip is another. Within it, arrays stand under the extractor's name and version, so another
extractor adds to the file and a changed one is read anew.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open

from mmdisco.errors import UserError
from mmdisco.evaluation.clips import ClipFiles
from mmdisco.evaluation.metrics.features import Extractor, Readings, Record
from mmdisco.io.files import parse_json, read_header, write_tensors
from mmdisco.media.clip import AudioVideo
from mmdisco.media.read import ReadSpec


@dataclass(frozen=True, slots=True)
class FeatureKey:
    """The form of a clip, which all clips of a set must have in common.

    Attributes:
        height: Of a frame, pixels.
        width: Likewise.
        frames: How many.
        fps: Frames a second, as a fraction.
        sample_rate: Samples a second.
    """

    height: int
    width: int
    frames: int
    fps: str
    sample_rate: int

    def __str__(self) -> str:
        """For people."""
        return (
            f"{self.frames} frames of {self.height}x{self.width} (height x width) "
            f"at {self.fps} fps, {self.sample_rate} Hz"
        )


@dataclass(frozen=True)
class CachedFeatures:
    """What is known of one clip.

    Attributes:
        path: The file.
        form: Of the clip.
        silent: Whether it has a silent sound track.
        known: Names with versions of extractors that were asked; those that could not read the
            clip say what they need.
    """

    path: Path
    form: FeatureKey
    silent: bool
    known: Mapping[str, str | None]

    @staticmethod
    def load(path: Path) -> "CachedFeatures | None":
        """From its file; ``None`` if it is not there, or damaged: then it is made again."""
        try:
            if not path.exists():
                return None
            facts = parse_json(read_header(path).metadata["facts"], str(path))
            return CachedFeatures(
                path, FeatureKey(**facts["form"]), bool(facts["silent"]), dict(facts["known"])
            )
        except (LookupError, TypeError, UserError, ValueError):
            return None

    def record(self, extractor: str) -> Record | None:
        """What the extractor of this name and version gave; ``None`` if it could not read."""
        if self.known[extractor] is not None:
            return None
        with safe_open(self.path, "np") as file:
            keys = [key for key in file.keys() if key.startswith(f"{extractor}/")]  # noqa: SIM118
            return {key.removeprefix(f"{extractor}/"): file.get_tensor(key) for key in keys}


def cache_path(cache: Path, item: ClipFiles, selection: ReadSpec) -> Path:
    """Where the record of a clip belongs."""
    marks: list[Any] = [repr(selection)]
    for path in (item.picture, item.sound):
        status = path.stat()
        marks += [str(path.resolve()), status.st_size, status.st_mtime_ns]
    name = hashlib.sha256(json.dumps(marks).encode()).hexdigest()[:24]
    return cache / name[:2] / f"{name}.safetensors"


def update(path: Path, clip: AudioVideo, extractors: Sequence[Extractor]) -> None:
    """Read ``clip`` with those extractors that have not, and write its file."""
    before = CachedFeatures.load(path)
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    known: dict[str, str | None] = dict(before.known) if before else {}
    for name in known:
        record = before.record(name) if before else None
        arrays.update({f"{name}/{key}": value for key, value in (record or {}).items()})
    for one in extractors:
        name = full_name(one)
        if name in known:
            continue
        known[name] = one.needs(clip)
        if known[name] is None:
            arrays.update({f"{name}/{key}": value for key, value in one.read(clip).items()})
    facts = {"form": asdict(form_of(clip)), "silent": clip.audio.is_silent, "known": known}
    tensors = {key: torch.from_numpy(np.ascontiguousarray(a)) for key, a in arrays.items()}
    write_tensors(path, tensors, {"facts": json.dumps(facts)})


def form_of(clip: AudioVideo) -> FeatureKey:
    """The form of a clip."""
    frames, height, width, _ = clip.video.frames.shape
    return FeatureKey(height, width, frames, str(clip.video.fps), clip.audio.sample_rate)


def full_name(extractor: Extractor) -> str:
    """Name and version."""
    return f"{extractor.name}@{extractor.version}"


@dataclass(frozen=True)
class FeatureCache(Readings):
    """The kept records of a set of clips; nothing is in memory.

    Attributes:
        clips: Files and records.
        versions: Full name of each extractor by its name.
    """

    clips: Sequence[tuple[ClipFiles, CachedFeatures]]
    versions: Mapping[str, str]

    @property
    def names(self) -> Sequence[str]:
        """One of each clip."""
        return [item.name for item, _ in self.clips]

    def prompt(self, index: int) -> str | None:
        """What is written beside clip ``index``.

        Raises:
            UserError: It is damaged.
        """
        return self.clips[index][0].prompt

    def record(self, extractor: str, index: int) -> Record | None:
        """What an extractor gave of clip ``index``."""
        return self.clips[index][1].record(self.versions[extractor])

    def count(self, extractor: str) -> int:
        """How many clips the extractor could read, without opening their files again."""
        return sum(kept.known[self.versions[extractor]] is None for _, kept in self.clips)
