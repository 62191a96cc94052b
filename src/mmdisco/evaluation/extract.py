"""Feature extraction: clips are read once, in any number of processes, and cached.

The cache is one small safetensors file per clip. Its name is derived from the clip's path, size,
modification time and the way it is read; a changed clip gets another name. Within the file, arrays
are named by extractor and version, so another extractor adds to the file and a changed one is run
again.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors import safe_open
from typing_extensions import override

from mmdisco.errors import UserError
from mmdisco.evaluation.clips import ClipFiles, ClipIssue, UnreadableClip, read_item
from mmdisco.evaluation.config import EvaluationConfig
from mmdisco.evaluation.metrics.features import Extractor, Readings, Record
from mmdisco.evaluation.registry import extractors_of
from mmdisco.io.files import parse_json, read_header, write_tensors
from mmdisco.io.workers import each
from mmdisco.media.clip import AudioVideo
from mmdisco.media.read import ReadSpec


@dataclass(frozen=True, slots=True)
class FeatureKey:
    """Format of a clip, which all clips of a set must share.

    Attributes:
        height: Height of a frame, pixels.
        width: Width of a frame, pixels.
        frames: Number of frames.
        fps: Frames per second, as a fraction.
        sample_rate: Samples per second.
    """

    height: int
    width: int
    frames: int
    fps: str
    sample_rate: int

    def __str__(self) -> str:
        """Format for messages."""
        return (
            f"{self.frames} frames of {self.height}x{self.width} (height x width) "
            f"at {self.fps} fps, {self.sample_rate} Hz"
        )


@dataclass(frozen=True)
class CachedFeatures:
    """Cached features of one clip.

    Attributes:
        path: The file.
        form: Format of the clip.
        silent: Whether its sound track is silent.
        known: Results by name and version of the extractors that were run: None, or the requirement
            that the clip does not meet.
    """

    path: Path
    form: FeatureKey
    silent: bool
    known: Mapping[str, str | None]

    @staticmethod
    def load(path: Path) -> "CachedFeatures | None":
        """Load a file; ``None`` if it is missing, or damaged and must be made again."""
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
        """Return an extractor's record by name and version; ``None`` if it could not read."""
        if self.known[extractor] is not None:
            return None
        with safe_open(self.path, "np") as file:
            keys = [key for key in file.keys() if key.startswith(f"{extractor}/")]  # noqa: SIM118
            return {key.removeprefix(f"{extractor}/"): file.get_tensor(key) for key in keys}


def cache_path(cache: Path, item: ClipFiles, selection: ReadSpec) -> Path:
    """Return the cache file of a clip."""
    marks: list[Any] = [repr(selection)]
    for path in (item.picture, item.sound):
        status = path.stat()
        marks += [str(path.resolve()), status.st_size, status.st_mtime_ns]
    name = hashlib.sha256(json.dumps(marks).encode()).hexdigest()[:24]
    return cache / name[:2] / f"{name}.safetensors"


def update(path: Path, clip: AudioVideo, extractors: Sequence[Extractor]) -> None:
    """Run the extractors that are missing in the clip's file, and write it."""
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
    """Return the format of a clip."""
    frames, height, width, _ = clip.video.frames.shape
    return FeatureKey(height, width, frames, str(clip.video.fps), clip.audio.sample_rate)


def full_name(extractor: Extractor) -> str:
    """Combine name and version."""
    return f"{extractor.name}@{extractor.version}"


@dataclass(frozen=True)
class FeatureCache(Readings):
    """Cached records of a set of clips; nothing is held in memory.

    Attributes:
        clips: Files and records.
        versions: Full name of each extractor by its name.
    """

    clips: Sequence[tuple[ClipFiles, CachedFeatures]]
    versions: Mapping[str, str]

    @property
    @override
    def names(self) -> Sequence[str]:
        return [item.name for item, _ in self.clips]

    def prompt(self, index: int) -> str | None:
        """Read the prompt of clip ``index``.

        Raises:
            UserError: Its file is damaged.
        """
        return self.clips[index][0].prompt

    @override
    def record(self, extractor: str, index: int) -> Record | None:
        return self.clips[index][1].record(self.versions[extractor])

    def count(self, extractor: str) -> int:
        """Count the clips that the extractor could read, without opening their files again."""
        return sum(kept.known[self.versions[extractor]] is None for _, kept in self.clips)


_AT_ONCE: Final = 8  # clips per task of a process


Watch = Callable[[str, int, int], object]
"""Progress callback: title, number done, and total."""


def unwatched(*_: object) -> None:
    """Ignore progress."""


def collect(
    items: Sequence[ClipFiles],
    config: EvaluationConfig,
    tools: Sequence[Extractor],
    title: str,
    watch: Watch = unwatched,
) -> list[ClipIssue]:
    """Extract features of the clips without a record, and return those that failed."""
    wanted = {full_name(one) for one in tools}
    missing = [item for item in items if not _complete(item, config, wanted)]
    parts = [tuple(missing[k : k + _AT_ONCE]) for k in range(0, len(missing), _AT_ONCE)]
    failures: list[ClipIssue] = []
    watch(title, 0, len(missing))
    done = 0
    for part, found in _readers(config, tools, parts):
        failures += found
        done += len(part)
        watch(title, done, len(missing))
    return failures


def _readers(
    config: EvaluationConfig, tools: Sequence[Extractor], parts: Sequence[tuple[ClipFiles, ...]]
) -> Iterator[tuple[tuple[ClipFiles, ...], list[ClipIssue]]]:
    """Process chunks of clips here or in a pool, and yield each with its failures."""
    if min(config.jobs, len(parts)) < 2:
        yield from ((part, _read(part, config, tools)) for part in parts)
        return
    yield from each(
        _read_there, parts, config.jobs, partial(_begin, config), threads=config.threads
    )


def _begin(config: EvaluationConfig) -> None:
    _HERE.append((config, extractors_of(config.metrics, config.features)))


# state of a process of the pool: its networks are loaded once, not for every chunk
_HERE: list[tuple[EvaluationConfig, list[Extractor]]] = []


def _read_there(part: Sequence[ClipFiles]) -> list[ClipIssue]:
    return _read(part, *_HERE[0])


def _read(
    part: Sequence[ClipFiles], config: EvaluationConfig, tools: Sequence[Extractor]
) -> list[ClipIssue]:
    failures: list[ClipIssue] = []
    for item in part:
        try:
            clip = read_item(item, config.selection)
        except UnreadableClip as error:
            failures.append(ClipIssue(str(item.picture), str(error), kept=False))
            continue
        update(cache_path(config.cache_dir, item, config.selection), clip, tools)
    return failures


def _complete(item: ClipFiles, config: EvaluationConfig, wanted: set[str]) -> bool:
    kept = CachedFeatures.load(cache_path(config.cache_dir, item, config.selection))
    return kept is not None and wanted <= kept.known.keys()


def kept_of(
    items: Sequence[ClipFiles], config: EvaluationConfig
) -> Iterator[tuple[ClipFiles, CachedFeatures]]:
    """Yield the clips that have a record."""
    for item in items:
        kept = CachedFeatures.load(cache_path(config.cache_dir, item, config.selection))
        if kept is not None:
            yield item, kept
