"""Folder of uploads and clips of one page: emptied after a while, and deleted with the page."""

import shutil
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from mmdisco.generation.metadata import OutputPaths

PREFIX: Final = "mmdisco-app-"
SWEEP_SECONDS: Final = 30.0
_LOCK: Final = "lock"


@dataclass(frozen=True)
class Workspace:
    """Folder of a page.

    Attributes:
        root: The folder, which nobody else may read.
        keep_seconds: Age at which a file is deleted.
    """

    root: Path
    keep_seconds: float

    @property
    def uploads(self) -> Path:
        """Folder of uploads."""
        return self.root / "uploads"

    @property
    def clips(self) -> Path:
        """Folder of clips."""
        return self.root / "clips"

    def new_clip(self, name: str) -> OutputPaths:
        """Return files of a new clip, in a folder whose name cannot be guessed."""
        return OutputPaths(Path(tempfile.mkdtemp(dir=self.clips)) / f"{name}.mp4", wav=True)

    def sweep(self, now: float) -> None:
        """Delete what was last written more than ``keep_seconds`` before ``now``."""
        for folder in (*self.uploads.iterdir(), *self.clips.iterdir()):
            try:
                written = max(one.stat().st_mtime for one in (folder, *folder.rglob("*")))
            except FileNotFoundError:  # by Gradio, meanwhile
                continue
            if now - written > self.keep_seconds:
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def workspace(keep_seconds: float, parent: Path | None = None) -> Generator[Workspace]:
    """Make a folder that is swept while the block runs and deleted at its end.

    Folders of pages that were killed are deleted too.

    Args:
        keep_seconds: Age at which a file is deleted.
        parent: Where the folder is made; the system's own place for such if left out.
    """
    where = parent or Path(tempfile.gettempdir())
    for folder in where.glob(f"{PREFIX}*"):
        _delete_abandoned(folder)
    made = Workspace(Path(tempfile.mkdtemp(prefix=PREFIX, dir=where)), keep_seconds)
    ended = threading.Event()

    def sweep() -> None:
        while not ended.wait(SWEEP_SECONDS):
            made.sweep(time.time())

    with FileLock(made.root / _LOCK):
        for folder in (made.uploads, made.clips):
            folder.mkdir()
        sweeper = threading.Thread(target=sweep, daemon=True)
        sweeper.start()
        try:
            yield made
        finally:
            ended.set()
            sweeper.join()
            shutil.rmtree(made.root, ignore_errors=True)


def _delete_abandoned(folder: Path) -> None:
    """Delete a folder whose page lives no more: nobody holds its lock."""
    if not (folder / _LOCK).is_file():
        return
    try:
        with FileLock(folder / _LOCK, timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
    except (Timeout, OSError):  # it lives, or belongs to another user
        return
