"""Mutual exclusion of processes by a lock file that exists only while it is held."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from mmdisco.io.files import cannot_write


@contextmanager
def alone(path: Path, on_wait: Callable[[], object] = lambda: None) -> Generator[None]:
    """Hold a lock file while the block runs.

    The file is deleted at the end, and so are the folders that were created for it and hold
    nothing else. A file that a killed process left behind is not locked, and taken over.

    Args:
        path: The lock file; missing folders are created.
        on_wait: Called once if another process holds it, before this one waits.

    Raises:
        UserError: The place cannot be written to.
    """
    made = [folder for folder in path.parents if not folder.exists()]
    lock = FileLock(path)
    try:
        _acquire(lock, path, on_wait)
    except OSError as error:
        raise cannot_write(path.parent, error) from error
    try:
        yield
    finally:
        # while it is held: a waiting process finds the file gone, and makes another
        path.unlink(missing_ok=True)
        lock.release()
        _remove_empty(made)


def _acquire(lock: FileLock, path: Path, on_wait: Callable[[], object]) -> None:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
            return
        except Timeout:
            on_wait()
        try:
            lock.acquire(poll_interval=0.2)
            return
        except FileNotFoundError:
            continue  # the previous holder has deleted the folder too


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return
