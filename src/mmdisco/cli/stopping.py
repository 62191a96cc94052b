"""What every command does about Ctrl-C, SIGTERM, what killed runs left, and other runs beside it.

``catching`` goes around the whole command line, ``running`` around the work of a command. A stopped
run ends its workers, deletes what is half-written and says in one line what is kept.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Final

STOPS: Final = (signal.SIGINT, signal.SIGTERM)
SAME_STOP: Final = 1.0  # seconds; a terminal and a launcher may both pass on what was pressed once
AGAIN: Final = 0.05  # seconds
MOST_THREADS: Final = 1024
MOST_LOCKS: Final = 100  # of files that one process holds open
GO_ON: Final = "the same command goes on"
ANEW: Final = "the same command begins anew"


@dataclass
class Stop:
    """Whether this process is to stop.

    Attributes:
        signal: What came; None before.
        since: When, on the monotonic clock.
        said: Whether a line has said so.
    """

    signal: int | None = None
    since: float = 0.0
    said: bool = False

    @property
    def status(self) -> int:
        """What the process ends with, as shells have it."""
        return 128 + (self.signal or 0)

    def come(self, number: int, _: FrameType | None) -> None:
        """Note a signal and interrupt the work; a second one later ends the process at once."""
        if self.signal is None:
            self.signal, self.since = number, time.monotonic()
            raise KeyboardInterrupt
        if time.monotonic() - self.since > SAME_STOP:
            os._exit(self.status)


_STOP: Final = Stop()


@contextmanager
def catching() -> Generator[Stop]:
    """Turn Ctrl-C and SIGTERM into ``KeyboardInterrupt``, in the block.

    Those that are ignored, as for a command that a script runs in the background, stay so.
    """
    before = {one: signal.getsignal(one) for one in STOPS}
    unraisable = sys.unraisablehook
    for one, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(one, _STOP.come)
    sys.unraisablehook = _raise_again
    try:
        yield _STOP
    finally:
        _STOP.signal, _STOP.said = None, False
        sys.unraisablehook = unraisable
        for one, handler in before.items():
            signal.signal(one, handler)


def _raise_again(lost: Any) -> None:
    """An interruption that fell into a place which cannot pass it on comes once more."""
    if not isinstance(lost.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(lost)
        return
    signal.signal(signal.SIGALRM, _interrupt)
    signal.setitimer(signal.ITIMER_REAL, AGAIN)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@dataclass
class Run:
    """A command at work.

    Attributes:
        kept: What to say when it is stopped: what is kept, and how to go on.
    """

    kept: str = ANEW
    _held: ExitStack = field(default_factory=ExitStack)
    _sweeps: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])

    def work_in(self, folder: Path) -> None:
        """Have a folder to oneself: wait for another run there, delete what killed ones left.

        Of processes that a launcher started together, the first does it for all.

        Raises:
            UserError: The folder cannot be written to.
        """
        from mmdisco.io.files import remove_leftovers

        if is_first():
            self.hold(folder, ".lock")
            self._sweep(lambda: remove_leftovers(folder))

    def hold(self, place: Path, lock: str) -> None:
        """Wait until no other run holds the lock of this name in a folder, then hold it.

        Raises:
            UserError: The folder cannot be written to.
        """
        from mmdisco.io.locking import alone

        said = f"mmdisco: another run is at work on {place}: waiting until it has ended\n"
        self._held.enter_context(alone(place / lock, lambda: sys.stderr.write(said)))

    def share(self, folder: Path) -> None:
        """Delete what killed runs left below a folder that several may fill at once."""
        from mmdisco.io.files import remove_abandoned

        self._sweep(lambda: remove_abandoned(folder.rglob(".*.part*")))

    def write(self, *files: Path, names: Sequence[Path] = ()) -> None:
        """Have files to oneself, in folders with anything else.

        Args:
            files: Files to write.
            names: Files that stand for them all, of which no other run may have one meanwhile; the
                first of ``files`` if left out.

        Raises:
            UserError: A folder cannot be written to.
        """
        from mmdisco.io.files import remove_abandoned

        if not files or not is_first():
            return
        # in one order, so that no two runs wait for each other
        held = {one.absolute(): one for one in (names[:MOST_LOCKS] or files[:1])}
        for _, name in sorted(held.items()):
            self.hold(name.parent, f".{name.name}.lock")
        for folder in {file.parent for file in files}:
            self._sweep(lambda folder=folder: remove_abandoned(_inside(folder)))

    def sweep(self) -> None:
        """Delete what is half-written where this run works."""
        for one in self._sweeps:
            one()

    def close(self) -> None:
        """Let others work there."""
        self._held.close()

    def _sweep(self, one: Callable[[], None]) -> None:
        self._sweeps.append(one)
        one()


@contextmanager
def running(kept: str, threads: int | None = None) -> Generator[Run]:
    """The work of a command.

    Args:
        kept: What to say when it is stopped; a command may change it on its way.
        threads: CPU threads of the arithmetic; None leaves torch its choice.

    Raises:
        UserError: A number of threads that cannot be.
        Exit: It was stopped.
    """
    from typer import Exit

    run = Run(kept)
    try:
        with _threads(threads):
            yield run
    except BaseException:
        if _STOP.signal is None:
            raise
        # whatever an interruption became on its way up
        _end(run)
        raise Exit(_STOP.status) from None
    finally:
        run.close()


def _end(run: Run) -> None:
    from mmdisco.io.workers import end_workers

    end_workers()
    run.sweep()
    say_stopped(run.kept)


def say_stopped(kept: str) -> None:
    """One line, from the first of processes that were started together."""
    _STOP.said = True
    if is_first():
        sys.stderr.write(f"mmdisco: stopped; {kept}\n")
        sys.stderr.flush()


def is_first() -> bool:
    """Whether this is the first of processes that a launcher started together, or alone."""
    return os.environ.get("RANK", "0") == "0"


def _inside(folder: Path) -> Iterable[Path]:
    return folder.iterdir() if folder.is_dir() else ()


@contextmanager
def _threads(threads: int | None) -> Generator[None]:
    if threads is None:
        yield
        return
    from mmdisco.errors import UserError

    if not 1 <= threads <= MOST_THREADS:
        raise UserError(f"{threads} threads: ask for 1 to {MOST_THREADS}")
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
