"""Runs of the command line in forked processes, which import nothing anew and can be stopped."""

import atexit
import os
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

POLL = 0.002  # seconds
GONE = 30.0  # seconds until workers of a stopped run must have ended


def warm() -> None:
    """Import what commands import. No arithmetic: its threads would not live on in a fork."""
    import mmdisco.cli.app
    import mmdisco.cli.fakes
    import mmdisco.cli.generate_clips
    import mmdisco.cli.train
    import mmdisco.data.prepare.run
    import mmdisco.evaluation.evaluate
    import mmdisco.evaluation.report
    import mmdisco.experiments.ablation.on_miniature
    import mmdisco.experiments.ablation.results
    import mmdisco.experiments.toy.report
    import mmdisco.experiments.toy.studies
    import mmdisco.training.config  # noqa: F401


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes:
        status: As a shell has it; -9 for a kill.
        said: On the standard error.
        orphans: Processes of its that lived on.
        seconds: From its start.
        stopped: Whether it was still at work when its moment came.
    """

    status: int
    said: str
    orphans: int
    seconds: float
    stopped: bool


def run(
    words: list[str], place: Path, number: signal.Signals | None = None, moment: float = 0.0
) -> Ended:
    """Run ``mmdisco`` with these words in ``place/work``, and send its group a signal."""
    for name in ("work", "temporary", "cache"):
        (place / name).mkdir(parents=True, exist_ok=True)
    said = place.with_suffix(".err")
    said.write_bytes(b"")  # it may be killed before it opens it
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        _command(words, place, said)
    os.setpgid(child, child)
    stopped, found = False, (0, 0)
    while found[0] == 0:
        found = os.waitpid(child, os.WNOHANG)
        if found[0] == 0 and number and not stopped and time.monotonic() - began >= moment:
            os.killpg(child, number)
            stopped = True
        time.sleep(POLL)
    seconds = time.monotonic() - began
    orphans = _wait_for_group(child)
    status = os.waitstatus_to_exitcode(found[1])
    return Ended(status, said.read_text(), orphans, seconds, stopped)


def _command(words: list[str], place: Path, said: Path) -> None:
    """The forked process; never returns."""
    status = 1
    try:
        os.setpgid(0, 0)
        os.chdir(place / "work")
        for descriptor, name in ((0, os.devnull), (1, os.devnull), (2, str(said))):
            flags = os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            opened = os.open(name, flags)
            os.dup2(opened, descriptor)
            os.close(opened)
        os.environ["TMPDIR"] = str(place / "temporary")
        os.environ["XDG_CACHE_HOME"] = str(place / "cache")
        tempfile.tempdir = None
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = ["mmdisco", *words]
        from mmdisco.cli import main

        main()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _wait_for_group(group: int) -> int:
    """Processes of a group that do not end."""
    deadline = time.monotonic() + GONE
    while living := _living(group):
        if time.monotonic() > deadline:
            os.killpg(group, signal.SIGKILL)
            return living
        time.sleep(POLL)
    return 0


def _living(group: int) -> int:
    count = 0
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state, _, its = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue  # it has ended meanwhile
            count += int(its) == group and state not in "ZX"
    return count
