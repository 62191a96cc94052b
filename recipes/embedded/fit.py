"""The package's loop for any network, with a line now and then of how far it is."""

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from mmdisco.errors import UserError
from mmdisco.training import fitting
from mmdisco.training.fitting import Loss, Network, Schedule

__all__ = ["Schedule", "fit", "progress"]

Item = TypeVar("Item")


def fit(network: Network, loss_of: Loss, schedule: Schedule, path: Path, name: str) -> Network:
    """``mmdisco.training.fitting.fit``, told of on standard error under ``name``."""
    began, first, losses = time.monotonic(), 0, list[float]()

    def watch(done: int, loss: float) -> None:
        nonlocal first
        first = first or done - 1
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

    try:
        return fitting.fit(network, loss_of, schedule, path, watch)
    except UserError as error:
        raise SystemExit(str(error)) from error


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
