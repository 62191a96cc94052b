"""Grid of toy cells: runs them in parallel and keeps their results, so that a study resumes."""

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mmdisco.experiments.toy.run import ToyCell, run_cell
from mmdisco.io.files import read_object, write_json, write_tensors
from mmdisco.io.workers import each

KEPT_POINTS = 10_000


def run_cells(
    cells: list[ToyCell], out: Path, jobs: int, threads: int = 1
) -> Iterator[tuple[ToyCell, list[Any]]]:
    """Run what is not yet done, ``jobs`` at a time.

    Args:
        cells: Cells to run.
        out: Gets ``cells/NAME.json``, and ``cells/NAME.safetensors`` with points for plots.
        jobs: Number of processes.
        threads: Threads per process.

    Yields:
        Each cell with its rows, as they finish; those of earlier runs first.
    """
    waiting: list[ToyCell] = []
    for cell in cells:
        done = _record(out, cell)
        if done.is_file():
            yield cell, read_object(done)["rows"]
        else:
            waiting.append(cell)
    run = partial(_run_and_keep, out=out)
    yield from each(run, waiting, jobs, threads=threads)


def points_file(out: Path, cell: ToyCell) -> Path:
    """Return the file of the points of a cell's first evaluation."""
    return out / "cells" / f"{cell.name}.safetensors"


def _record(out: Path, cell: ToyCell) -> Path:
    return out / "cells" / f"{cell.name}.json"


def _run_and_keep(cell: ToyCell, out: Path) -> list[dict[str, object]]:
    run_dir = out / "runs" / cell.name
    outcome = run_cell(cell, run_dir)
    points = outcome.points[:KEPT_POINTS].to(torch.float32)
    write_tensors(points_file(out, cell), {"points": points}, {"cell": cell.name})
    write_json(_record(out, cell), {"cell": asdict(cell), "rows": outcome.rows})
    return outcome.rows
