"""Runs cells side by side and keeps what they gave, so that a stopped study goes on."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from mmdisco.files import read_json, write_json, write_tensors
from mmdisco.toy.cell import Cell, run_cell

KEPT_POINTS = 10_000


def run_cells(cells: list[Cell], out: Path, jobs: int) -> Iterator[tuple[Cell, list[Any]]]:
    """Run what is not yet done, ``jobs`` at a time, one thread each.

    Args:
        cells: What to do.
        out: Gets ``cells/NAME.json``, and ``cells/NAME.safetensors`` with points for pictures.
        jobs: Processes.

    Yields:
        Each cell with its rows, as they finish; those of earlier runs first.
    """
    waiting: list[Cell] = []
    for cell in cells:
        done = _record(out, cell)
        if done.is_file():
            yield cell, read_json(done)["rows"]
        else:
            waiting.append(cell)
    if not waiting:
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_one_thread) as pool:
        futures = {pool.submit(_run_and_keep, cell, out): cell for cell in waiting}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            # what is running finishes; what waits is dropped, so an error shows at once
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def points_file(out: Path, cell: Cell) -> Path:
    """Where the first evaluation's points of a cell are kept."""
    return out / "cells" / f"{cell.name}.safetensors"


def _record(out: Path, cell: Cell) -> Path:
    return out / "cells" / f"{cell.name}.json"


def _one_thread() -> None:
    torch.set_num_threads(1)


def _run_and_keep(cell: Cell, out: Path) -> list[dict[str, object]]:
    run_dir = out / "runs" / cell.name
    outcome = run_cell(cell, run_dir)
    points = outcome.points[:KEPT_POINTS].to(torch.float32)
    write_tensors(points_file(out, cell), {"points": points}, {"cell": cell.name})
    write_json(_record(out, cell), {"cell": asdict(cell), "rows": outcome.rows})
    return outcome.rows
