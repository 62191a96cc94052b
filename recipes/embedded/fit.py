"""The package's loop for any network, with a line now and then of how far it is."""

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from mmdisco.errors import UserError
from mmdisco.training import fitting
from mmdisco.training.fitting import Loss, Network, Schedule, Watch

__all__ = ["Schedule", "fit", "progress", "watching"]

Item = TypeVar("Item")


def fit(network: Network, loss_of: Loss, schedule: Schedule, path: Path, name: str) -> Network:
    """``mmdisco.training.fitting.fit``, told of on standard error under ``name``."""
    try:
        return fitting.fit(network, loss_of, schedule, path, watching(name, schedule))
    except UserError as error:
        raise SystemExit(str(error)) from error


def watching(name: str, schedule: Schedule) -> Watch:
    """A line every 100 steps."""
    began, first, losses = time.monotonic(), -1, list[float]()

    def watch(done: int, loss: float) -> None:
        nonlocal first
        first = done - 1 if first < 0 else first
        losses.append(loss)
        if done % 100 == 0 or done == schedule.steps:
            pace = (time.monotonic() - began) / (done - first)
            left = pace * (schedule.steps - done) / 60
            mean = float(np.mean(losses[-100:]))
            sys.stderr.write(
                f"{name}: step {done} of {schedule.steps}, loss {mean:.4f}, "
                f"{1000 * pace:.0f} ms a step, {left:.1f} min left\n"
            )
            sys.stderr.flush()

    return watch


def progress(items: Sequence[Item], name: str) -> Iterator[Item]:
    """The items, with a line now and then of how far and how long still."""
    began, last = time.monotonic(), 0.0
    for done, item in enumerate(items):
        now = time.monotonic() - began
        if done and now - last > 20:
            last = now
            left = now / done * (len(items) - done) / 60
            sys.stderr.write(f"{name}: {done} of {len(items)}, {left:.1f} min left\n")
            sys.stderr.flush()
        yield item
