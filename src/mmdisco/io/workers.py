"""Worker processes that end with the process that started them."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

import torch

from mmdisco.errors import UserError

Task = TypeVar("Task")
Result = TypeVar("Result")


def each(
    work: Callable[[Task], Result],
    tasks: Iterable[Task],
    jobs: int,
    begin: Callable[[], object] | None = None,
    *,
    threads: int = 1,
    together: bool = False,
) -> Iterator[tuple[Task, Result]]:
    """Run ``work`` for every task in worker processes.

    After an error, running tasks are finished and waiting ones are dropped; all end at once where
    none is of use without the others. Where this process is stopped or killed, its workers end at
    once.

    Args:
        work: A function importable by its name, as everything sent must be.
        tasks: The argument of each call.
        jobs: Maximal number of processes.
        begin: Called once in every process before its first task.
        threads: CPU threads of each process.
        together: Whether an error in one task ends the others at once.

    Yields:
        Tasks with their results, as they finish.

    Raises:
        UserError: A process was killed from outside.
    """
    waiting = list(tasks)
    if not waiting:
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        min(jobs, len(waiting)), context, initializer=_begin, initargs=(threads, begin)
    )
    try:
        with _undisturbed():
            futures: dict[Future[Result], Task] = {pool.submit(work, one): one for one in waiting}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process was killed, perhaps for want of memory: give fewer --jobs"
        ) from error
    except Exception:
        if together:
            end_workers()
        pool.shutdown(cancel_futures=True)
        raise
    except BaseException:
        end_workers()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def end_workers() -> None:
    """Kill the processes that this one has started, and wait until they are gone."""
    children = multiprocessing.active_children()
    for child in children:
        child.kill()
    for child in children:
        child.join()


@contextmanager
def _undisturbed() -> Generator[None]:
    """Shield processes started within from Ctrl-C, which a terminal sends to all at once."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        # signals that arrived meanwhile are delivered now
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(threads: int, begin: Callable[[], object] | None) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    if begin is not None:
        begin()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
