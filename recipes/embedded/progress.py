"""How far a stage of the recipe is, as lines on the standard error."""

import sys
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from torch import nn

from mmdisco.training.bases.fit import Watch

Item = TypeVar("Item")


def lines(name: str, steps: int) -> Watch:
    """A watch of a training that writes a line every hundred updates."""
    began, first = time.monotonic(), 0

    def watch(done: int, loss: float, average: nn.Module) -> None:
        nonlocal began, first
        del average
        if not first:  # the time until the first update is not that of one
            began, first = time.monotonic(), done
        if done % 100 == 0 or done == steps:
            pace = (time.monotonic() - began) / max(1, done - first)
            left = pace * (steps - done) / 60
            sys.stderr.write(
                f"{name}: step {done} of {steps}, loss {loss:.4f}, {1000 * pace:.0f} ms a step, "
                f"{left:.1f} min left\n"
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
