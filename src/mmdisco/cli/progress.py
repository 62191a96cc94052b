"""How far a long command is: a bar on a terminal, a line every so often in a log; and its pace."""

import os
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mmdisco.cli.stopping import is_first
from mmdisco.errors import UserError
from mmdisco.io.files import read_object, write_json

SOONEST: Final = 30.0  # seconds from one line to the next
MOST_PACES: Final = 100
LONG: Final = 100.0  # seconds
SHARE: Final = 0.05  # of the time that has passed: a run of a day writes no thousands of lines

Item = TypeVar("Item")


class Shown(ABC):
    """What is done, how much of it, and out of how much."""

    @abstractmethod
    def update(self, doing: str, done: int, total: int | None, said: str = "") -> None:
        """Show how far it is.

        Args:
            doing: What is under way; another name begins another count.
            done: How much of it is done.
            total: Out of how much; None as long as that is not known.
            said: What there is to say beside.
        """

    def track(self, items: Iterable[Item], doing: str, total: int) -> Iterator[Item]:
        """``items``, counted as they come."""
        self.update(doing, 0, total)
        for done, item in enumerate(items, start=1):
            self.update(doing, done, total)
            yield item


@contextmanager
def progress(doing: str, *, quiet: bool = False) -> Generator[Shown]:
    """Show on the standard error what is done in the block, beginning with ``doing``.

    Of processes that a launcher started together, only the first says something; none if ``quiet``.
    """
    if quiet or not is_first():
        yield Lines(doing)
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        with Lines(doing).written() as lines:
            yield lines
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[said]}"),
    )
    with Progress(*columns, console=console) as bars:
        yield Bars(bars, doing)


class Bars(Shown):
    """A bar for each thing that is done.

    Args:
        bars: Shown.
        doing: What comes first.
    """

    def __init__(self, bars: Progress, doing: str) -> None:
        self._bars = bars
        self._doing = doing
        self._task = bars.add_task(escape(doing), total=None, said="")

    def update(self, doing: str, done: int, total: int | None, said: str = "") -> None:
        """Move the bar; a new one below where something else is done."""
        if doing != self._doing:
            known = self._bars.tasks[-1].total is not None
            if known:
                self._task = self._bars.add_task(escape(doing), total=None, said="")
            self._doing = doing
        self._bars.update(
            self._task,
            description=escape(doing),
            completed=done,
            total=total,
            said=escape(said),
        )


class Lines(Shown):
    """A line when 30 seconds have passed, and then less and less often.

    Args:
        doing: What comes first.
        soonest: Seconds from one line to the next, at least.
    """

    def __init__(self, doing: str, soonest: float = SOONEST) -> None:
        self._soonest = soonest
        self._began = time.monotonic()
        self._done = threading.Event()
        self._state: tuple[str, int, int | None, str] = (doing, 0, None, "")
        # of what is under way: when it was first heard of, and how much was done by then
        self._first = (self._began, 0)

    def update(self, doing: str, done: int, total: int | None, said: str = "") -> None:
        """Remember it for the next line."""
        before = self._state
        if doing != before[0] or before[2] is None:
            self._first = (time.monotonic(), done)
        self._state = (doing, done, total, said)

    def line(self) -> str:
        """How far it is."""
        (doing, done, total, said), now = self._state, time.monotonic()
        parts = [doing if total is None else f"{doing}: {done} of {total}"]
        parts.append(f"{_clock(now - self._began)} passed")
        since, already = self._first
        if total is not None and done > already:
            parts.append(f"about {_clock((now - since) / (done - already) * (total - done))} left")
        return f"mmdisco: {', '.join([*parts, *([said] if said else [])])}"

    @contextmanager
    def written(self) -> Generator["Lines"]:
        """Write lines while the block runs, also when nothing moves."""
        thread = threading.Thread(target=self._write, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._done.set()
            thread.join()

    def _write(self) -> None:
        while not self._done.wait(max(self._soonest, SHARE * (time.monotonic() - self._began))):
            sys.stderr.write(f"{self.line()}\n")
            sys.stderr.flush()


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


@dataclass(frozen=True)
class Pace:
    """Seconds that clips of one kind took on this machine when they were last made.

    Attributes:
        load: Seconds until the models are loaded.
        step: Seconds of one step of one clip.
        finish: Seconds of decoding and writing one clip.
    """

    load: float
    step: float
    finish: float

    def expected(self, steps: int, clips: int) -> str:
        """Expected duration of a run, with the steps of all clips together."""
        return duration(self.load + self.step * steps + self.finish * clips)

    @staticmethod
    def recall(kind: str) -> "Pace | None":
        """Return the pace of the last run of a kind; None if none is remembered."""
        with suppress(UserError, TypeError, ValueError, KeyError):
            load, step, finish = map(float, read_object(_paces())[kind])
            return Pace(load, step, finish)
        return None

    def remember(self, kind: str) -> None:
        """Keep the pace for the next run of a kind, where there is room to keep it."""
        path, kept = _paces(), {}
        with suppress(UserError):
            kept = dict(list(read_object(path).items())[-MOST_PACES:])
        with suppress(UserError):
            write_json(path, {**kept, kind: [round(one, 4) for one in astuple(self)]})


@dataclass
class Durations:
    """Seconds of a run, summed as it goes on.

    Attributes:
        load: Seconds until the models are loaded.
        steps: Seconds of sampling.
        finish: Seconds of decoding and writing.
    """

    load: float = 0.0
    steps: float = 0.0
    finish: float = 0.0
    _since: float = field(default_factory=time.monotonic)

    def lap(self) -> float:
        """Return the seconds since the last lap, or since the beginning."""
        before, self._since = self._since, time.monotonic()
        return self._since - before

    def __str__(self) -> str:
        return duration(self.load + self.steps + self.finish)

    def pace(self, steps: int, clips: int) -> Pace:
        """Return the seconds of each step and clip."""
        return Pace(self.load, self.steps / steps, self.finish / clips)


def duration(seconds: float) -> str:
    """Return a duration as text, such as "12 s" or "0:02:05"."""
    return f"{max(1, round(seconds))} s" if seconds < LONG else _clock(seconds)


def _paces() -> Path:
    named = os.environ.get("MMDISCO_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return (Path(named) if named else Path(base) / "mmdisco") / "pace.json"
