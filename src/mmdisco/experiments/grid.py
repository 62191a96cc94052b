"""Grid of a study: cells carried out in processes, each kept on disk, so that a study resumes."""

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from typing_extensions import override

from mmdisco.io.files import plain, read_object, write_json
from mmdisco.io.workers import each


class Cell(ABC):
    """A unit of work whose result is kept."""

    @property
    @abstractmethod
    def done(self) -> bool:
        """Whether the result is complete."""

    @abstractmethod
    def carry_out(self) -> None:
        """Do the work and keep the result."""


AnyCell = TypeVar("AnyCell", bound=Cell)


@dataclass(frozen=True)
class MeasuredCell(Cell):
    """A cell with one JSON file of results, named by a hash of all that affects them.

    Attributes:
        out: Folder of the study.
    """

    out: Path

    @property
    @abstractmethod
    def label(self) -> str:
        """Description in a few words."""

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return every setting that affects the results."""

    @abstractmethod
    def measure(self) -> Any:
        """Compute the results, of JSON's types."""

    @property
    def name(self) -> str:
        """Stem of the cell's files."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.label.lower()).strip("-")
        return f"{slug}-{key_of(self.settings)}"

    @property
    def file(self) -> Path:
        """File of the results."""
        return self.out / "cells" / f"{self.name}.json"

    @property
    @override
    def done(self) -> bool:
        return self.file.is_file()

    @override
    def carry_out(self) -> None:
        results = plain(self.measure())
        write_json(self.file, {"settings": plain(self.settings), "results": results})

    def results(self) -> Any:
        """Read the results."""
        return read_object(self.file)["results"]


def run(
    cells: Sequence[AnyCell], jobs: int, threads: int = 1
) -> Iterator[tuple[AnyCell, int, int]]:
    """Carry out the cells that are not done; a single one, or with one job, in this process.

    Args:
        cells: Cells, each once.
        jobs: Number of processes.
        threads: CPU threads of each.

    Yields:
        A cell that was carried out, the number of these, and their final number.
    """
    waiting = [cell for cell in cells if not cell.done]
    done = (
        _here(waiting, threads)
        if jobs == 1 or len(waiting) < 2
        else (cell for cell, _ in each(_carry_out, waiting, jobs, threads=threads))
    )
    for number, cell in enumerate(done, start=1):
        yield cell, number, len(waiting)


def key_of(value: Any) -> str:
    """Return a hash of a value of JSON's types."""
    text = json.dumps(plain(value), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _here(cells: Sequence[AnyCell], threads: int) -> Iterator[AnyCell]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for cell in cells:
            _carry_out(cell)
            yield cell
    finally:
        torch.set_num_threads(before)


def _carry_out(cell: Cell) -> None:
    cell.carry_out()
