"""Feature extraction: clips are read once, in any number of processes, and cached."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from mmdisco.evaluation.clips import ClipFiles, ClipIssue, UnreadableClip, read_item
from mmdisco.evaluation.feature_cache import CachedFeatures, cache_path, full_name, update
from mmdisco.evaluation.metrics.features import Extractor
from mmdisco.evaluation.registry import extractors_of
from mmdisco.io.workers import each
from mmdisco.media.read import ReadSpec

_AT_ONCE: Final = 8  # clips per task of a process


@dataclass(frozen=True)
class ExtractionPlan:
    """Plan of feature extraction.

    Attributes:
        cache: Folder of cached features.
        metrics: Names of metrics, from which the processes build their extractors.
        features: Names of features, likewise.
        selection: Length, rates and size that clips are converted to.
        jobs: Number of processes.
        threads: Threads per process.
    """

    cache: Path
    metrics: tuple[str, ...]
    features: tuple[str, ...]
    selection: ReadSpec
    jobs: int
    threads: int = 1


Watch = Callable[[str, int, int], object]
"""Progress callback: title, number done, and total."""


def unwatched(*_: object) -> None:
    """Ignore progress."""


def collect(
    items: Sequence[ClipFiles],
    plan: ExtractionPlan,
    tools: Sequence[Extractor],
    title: str,
    watch: Watch = unwatched,
) -> list[ClipIssue]:
    """Extract features of the clips without a record, and return those that failed."""
    wanted = {full_name(one) for one in tools}
    missing = [item for item in items if not _complete(item, plan, wanted)]
    parts = [tuple(missing[k : k + _AT_ONCE]) for k in range(0, len(missing), _AT_ONCE)]
    failures: list[ClipIssue] = []
    watch(title, 0, len(missing))
    done = 0
    for part, found in _readers(plan, tools, parts):
        failures += found
        done += len(part)
        watch(title, done, len(missing))
    return failures


def _readers(
    plan: ExtractionPlan, tools: Sequence[Extractor], parts: Sequence[tuple[ClipFiles, ...]]
) -> Iterator[tuple[tuple[ClipFiles, ...], list[ClipIssue]]]:
    """Process chunks of clips here or in a pool, and yield each with its failures."""
    if min(plan.jobs, len(parts)) < 2:
        yield from ((part, _read(part, plan, tools)) for part in parts)
        return
    yield from each(_read_there, parts, plan.jobs, partial(_begin, plan), threads=plan.threads)


def _begin(plan: ExtractionPlan) -> None:
    _HERE.append((plan, extractors_of(plan.metrics, plan.features)))


# state of a process of the pool: its networks are loaded once, not for every chunk
_HERE: list[tuple[ExtractionPlan, list[Extractor]]] = []


def _read_there(part: Sequence[ClipFiles]) -> list[ClipIssue]:
    return _read(part, *_HERE[0])


def _read(
    part: Sequence[ClipFiles], plan: ExtractionPlan, tools: Sequence[Extractor]
) -> list[ClipIssue]:
    failures: list[ClipIssue] = []
    for item in part:
        try:
            clip = read_item(item, plan.selection)
        except UnreadableClip as error:
            failures.append(ClipIssue(str(item.picture), str(error), kept=False))
            continue
        update(cache_path(plan.cache, item, plan.selection), clip, tools)
    return failures


def _complete(item: ClipFiles, plan: ExtractionPlan, wanted: set[str]) -> bool:
    kept = CachedFeatures.load(cache_path(plan.cache, item, plan.selection))
    return kept is not None and wanted <= kept.known.keys()


def kept_of(
    items: Sequence[ClipFiles], plan: ExtractionPlan
) -> Iterator[tuple[ClipFiles, CachedFeatures]]:
    """Yield the clips that have a record."""
    for item in items:
        kept = CachedFeatures.load(cache_path(plan.cache, item, plan.selection))
        if kept is not None:
            yield item, kept
