"""Reads every clip of a folder once, in as many processes as wanted, and keeps what it gave."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import torch
from rich.console import Console
from rich.progress import track

from mmdisco.evaluation.cache import Kept, add, full_name, place
from mmdisco.evaluation.folder import Item, Unfit, read_item
from mmdisco.evaluation.named import extractors_of
from mmdisco.media.reading import Selection
from mmdisco.metrics.readings import Extractor

_AT_ONCE: Final = 8  # clips a process takes at a time


@dataclass(frozen=True)
class Plan:
    """How clips are read.

    Attributes:
        cache: Folder of what is kept.
        metrics: Names, for the processes to build extractors from.
        features: Likewise.
        selection: Length, rates and size that clips are brought to.
        jobs: Processes.
    """

    cache: Path
    metrics: tuple[str, ...]
    features: tuple[str, ...]
    selection: Selection
    jobs: int


@dataclass(frozen=True)
class Failure:
    """A clip that could not be read.

    Attributes:
        item: Which.
        reason: In words.
    """

    item: Item
    reason: str


Readers = Callable[[Sequence[Sequence[Item]]], Iterable[list[Failure]]]


def collect(
    items: Sequence[Item], plan: Plan, tools: Sequence[Extractor], title: str
) -> list[Failure]:
    """Keep a record of every clip that has none; what could not be read is returned."""
    wanted = {full_name(one) for one in tools}
    missing = [item for item in items if not _complete(item, plan, wanted)]
    parts = [missing[k : k + _AT_ONCE] for k in range(0, len(missing), _AT_ONCE)]
    console = Console(stderr=True)
    failures: list[Failure] = []
    with _readers(plan, tools, len(parts)) as results:
        for found in track(results(parts), title, total=len(parts), console=console):
            failures += found
    return failures


@contextmanager
def _readers(plan: Plan, tools: Sequence[Extractor], parts: int) -> Generator[Readers]:
    """A function from parts to their failures, here or in processes of their own."""
    if min(plan.jobs, parts) < 2:
        yield lambda todo: (_read(part, plan, tools) for part in todo)
        return
    with get_context("spawn").Pool(min(plan.jobs, parts), _begin, (plan,)) as pool:
        yield lambda todo: pool.imap_unordered(_read_there, todo)


def _begin(plan: Plan) -> None:
    torch.set_num_threads(1)
    _HERE.append((plan, extractors_of(plan.metrics, plan.features)))


# of a process of the pool: its networks are loaded once, not for every part
_HERE: list[tuple[Plan, list[Extractor]]] = []


def _read_there(part: Sequence[Item]) -> list[Failure]:
    return _read(part, *_HERE[0])


def _read(part: Sequence[Item], plan: Plan, tools: Sequence[Extractor]) -> list[Failure]:
    failures: list[Failure] = []
    for item in part:
        try:
            clip = read_item(item, plan.selection)
        except Unfit as error:
            failures.append(Failure(item, str(error)))
            continue
        add(place(plan.cache, item, plan.selection), clip, tools)
    return failures


def _complete(item: Item, plan: Plan, wanted: set[str]) -> bool:
    kept = Kept.load(place(plan.cache, item, plan.selection))
    return kept is not None and wanted <= kept.known.keys()


def share(items: Sequence[Item], part: int, parts: int) -> list[Item]:
    """The clips of one of several processes."""
    return list(items[part::parts])


def kept_of(items: Sequence[Item], plan: Plan) -> Iterator[tuple[Item, Kept]]:
    """The clips that have a record."""
    for item in items:
        kept = Kept.load(place(plan.cache, item, plan.selection))
        if kept is not None:
            yield item, kept
