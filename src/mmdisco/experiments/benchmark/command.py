"""Benchmark from names and files to a table and files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch

from mmdisco.errors import UserError
from mmdisco.experiments.benchmark.base_models import BenchmarkConfig
from mmdisco.experiments.benchmark.measure import measure
from mmdisco.experiments.benchmark.report import document, record_of, table
from mmdisco.experiments.benchmark.systems import PAIRS
from mmdisco.io.files import expect_writable, read_json, write_json, write_text

DTYPES: Final = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
EVERY: Final = ", a gradient for "


@dataclass(frozen=True)
class BenchmarkArgs:
    """Arguments of a benchmark.

    Attributes:
        pair: A name of ``PAIRS``.
        setting: Sizes and seed; device and type are taken from the names below.
        dtype: A name of ``DTYPES``.
        device: Device by torch's name, such as "cuda:0".
        repeats: Number of timed rounds.
        warm_up: Whether there is a round before them.
        threads: CPU threads; ``None`` leaves them to torch.
        out: JSON file; the table is written beside it, with the suffix ``.md``. Its records of
            other pairs are kept.
    """

    pair: str
    setting: BenchmarkConfig
    dtype: str = "float32"
    device: str = "cpu"
    repeats: int = 3
    warm_up: bool = True
    threads: int | None = None
    out: Path | None = None


def carry_out(order: BenchmarkArgs, watch: Callable[[int], object] = lambda _: None) -> str:
    """Measure, and write the files.

    Args:
        order: Arguments.
        watch: Called after every round with the number of timed rounds.

    Returns:
        The table.

    Raises:
        UserError: An argument is invalid, or a file cannot be written.
    """
    if order.pair not in PAIRS:
        raise UserError(f"unknown pair {order.pair!r}: choose one of {', '.join(PAIRS)}")
    if order.dtype not in DTYPES:
        raise UserError(f"unknown type {order.dtype!r}: choose one of {', '.join(DTYPES)}")
    if order.repeats < 1:
        raise UserError(f"{order.repeats} repeats: ask for 1 or more")
    if order.threads is not None and order.threads < 1:
        raise UserError(f"{order.threads} threads: ask for 1 or more")
    setting = replace(order.setting, device=_device(order.device), dtype=DTYPES[order.dtype])
    if order.out is not None:
        _expect_ours(order.out)
    before = torch.get_num_threads()
    torch.set_num_threads(order.threads or before)
    record: dict[str, Any] = {}
    try:
        pair = PAIRS[order.pair]()
        for measured in measure(pair, setting, order.repeats, warm_up=order.warm_up):
            record = record_of(measured, setting)
            watch(len(measured.steps))
            # a step can take minutes: measurements are kept when the rest is interrupted
            if order.out is not None:
                _write(order.out, _title(order), record)
    finally:
        torch.set_num_threads(before)
    return table(record)


def _write(out: Path, pair: str, record: Mapping[str, Any]) -> None:
    # read again: another process may have written another pair's record
    records = {**_read(out), pair: record}
    in_order = {
        title: records[title] for name in PAIRS for title in sorted(records) if _pair(title) == name
    }
    write_json(out, in_order)
    write_text(out.with_suffix(".md"), document(in_order))


def _title(order: BenchmarkArgs) -> str:
    every = order.setting.joint_every
    return order.pair if every == 1 else f"{order.pair}{EVERY}{every}"


def _pair(title: str) -> str:
    return title.partition(EVERY)[0]


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:
        raise UserError(f"device {name!r} cannot be used here: leave --device out") from error
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device {name!r}: memory is measured of cpu and cuda alone")
    return device


def _expect_ours(out: Path) -> None:
    """Refuse, before measuring, a file that cannot be written or is something else."""
    if out.suffix == ".md":
        raise UserError(f"{out} is where the table would go: give a name that ends in .json")
    expect_writable(out)
    expect_writable(out.with_suffix(".md"))
    _read(out)


def _read(out: Path) -> dict[str, Any]:
    """Read the records of earlier runs, by pair."""
    if not out.is_file():
        return {}
    records = read_json(out)
    if not isinstance(records, dict) or any(_pair(name) not in PAIRS for name in records):
        raise UserError(f"{out} holds something else: give the name of another file")
    return records
