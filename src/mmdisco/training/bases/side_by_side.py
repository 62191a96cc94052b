"""Tasks side by side in processes, with the progress of all of them in one place."""

import multiprocessing
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from typing import Final, TypeVar

import torch

from mmdisco.io.workers import each

Task = TypeVar("Task")
Show = Callable[[str, int, int | None, str], object]
"""Called with an activity, how much of it is done, out of how much, and a remark."""

_PATIENCE: Final = 0.2  # seconds until the end of all tasks is noticed
_News = tuple[int, str, int, int | None, str]


def side_by_side(work: Callable[[Task, Show], object], tasks: Sequence[Task], show: Show) -> None:
    """Run ``work`` for every task in a process of its own, with as many threads as this one has.

    An error in one ends the others at once. Where this process is stopped or killed, they end too.

    Args:
        work: A function importable by its name; it gets a task, and where to show its progress.
        tasks: The tasks, picklable.
        show: Shows the progress of all tasks together.

    Raises:
        UserError: What a task raises, or a process was killed from outside.
    """
    reader, writer = multiprocessing.get_context("spawn").Pipe(duplex=False)
    numbered = [(number, work, task) for number, task in enumerate(tasks)]
    with reader, writer, _watched(reader, show):
        begin = partial(_send_to, writer)
        threads = torch.get_num_threads()
        for _ in each(_work, numbered, len(tasks), begin, threads=threads, together=True):
            pass


@contextmanager
def _watched(reader: "Connection[object, _News]", show: Show) -> Generator[None]:
    """Show what comes in while the block runs."""
    ended, latest = threading.Event(), dict[int, tuple[str, int, int | None, str]]()

    def watch() -> None:
        while True:
            if reader.poll(_PATIENCE):
                number, doing, done, total, said = reader.recv()
                latest[number] = doing, done, total, said
                show(*combined([one for _, one in sorted(latest.items())]))
            elif ended.is_set():
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def combined(
    states: Sequence[tuple[str, int, int | None, str]],
) -> tuple[str, int, int | None, str]:
    """Return the arguments of ``Show`` for several tasks together; their totals are summed."""
    doing = " and ".join(dict.fromkeys(name for name, *_ in states))
    totals = [total for _, _, total, _ in states if total is not None]
    said = [
        " ".join([name, str(done), *([] if total is None else [f"of {total}"]), remark]).rstrip()
        for name, done, total, remark in states
    ]
    whole = sum(totals) if len(totals) == len(states) else None
    return doing, sum(done for _, done, *_ in states), whole, "; ".join(said)


_writers: list["Connection[_News, object]"] = []  # of this process: one, where it is a worker


def _send_to(writer: "Connection[_News, object]") -> None:
    _writers[:] = [writer]


def _work(task: tuple[int, Callable[[Task, Show], object], Task]) -> None:
    number, work, own = task
    (writer,) = _writers

    def show(doing: str, done: int, total: int | None, said: str) -> None:
        # so short that the system writes it whole, also beside another process
        writer.send((number, doing, done, total, said))

    work(own, show)
