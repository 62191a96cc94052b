"""Sources of clips: one interface for all layouts of files, and the videos in a folder."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

from mmdisco.errors import UserError
from mmdisco.media.probe import SkipReason

TRAIN: Final = "train"
VALIDATION: Final = "validation"
PARTS: Final[tuple[str, ...]] = (TRAIN, VALIDATION)


@dataclass(frozen=True)
class SourceVideo:
    """A video, or a span of one, that clips are taken from.

    Attributes:
        path: The file.
        name: Name in reports and the manifest, relative to the source.
        caption: The caption; may be empty.
        group: Key of clips that stay in one split, training or validation.
        start: Start in seconds.
        end: End in seconds; None is the end of the file.
        part: ``train`` or ``validation`` where the data set defines the split.
    """

    path: Path
    name: str
    caption: str
    group: str
    start: Fraction = Fraction(0)
    end: Fraction | None = None
    part: str | None = None


@dataclass(frozen=True)
class SkippedFile:
    """A listed or found file that cannot be used.

    Attributes:
        name: Name as in ``SourceVideo``.
        fault: Reason.
    """

    name: str
    fault: SkipReason


class Source(ABC):
    """Videos with their captions."""

    @abstractmethod
    def items(self) -> Iterator[SourceVideo | SkippedFile]:
        """List all videos, always in the same order.

        Raises:
            UserError: The source is missing, or a list of it is malformed.
        """


_NAMES: Final = (
    ("mp4", "m4v", "mov", "mkv", "webm", "avi", "flv", "wmv", "asf", "mpg", "mpeg", "m2v"),
    ("ts", "mts", "m2ts", "3gp", "3g2", "ogv", "mxf", "vob", "rm", "rmvb"),
)
SUFFIXES: Final = frozenset(f".{name}" for names in _NAMES for name in names)


def find_videos(folder: Path) -> Iterator[Path | SkippedFile]:
    """Find video files by suffix, at any depth, sorted by name; others are reported as skipped.

    Links to files are followed. Links to folders are not, since they may form a cycle; hidden files
    and folders are ignored.

    Raises:
        UserError: ``folder`` is no folder or cannot be read.
    """
    try:
        os.listdir(folder)
    except OSError as error:
        raise UserError(f"cannot read {folder}: {error.strerror or error}") from error
    yield from _within(folder, folder)


def relative(path: Path, root: Path) -> str:
    """Return the path of a video relative to ``root``, with slashes."""
    return path.relative_to(root).as_posix()


def _within(folder: Path, root: Path) -> Iterator[Path | SkippedFile]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        yield SkippedFile(
            relative(folder, root), SkipReason("unreadable", error.strerror or str(error))
        )
        return
    for entry in entries:
        path = Path(entry.path)
        if entry.name.startswith("."):
            yield SkippedFile(relative(path, root), SkipReason("hidden"))
        elif entry.is_dir(follow_symlinks=False):
            yield from _within(path, root)
        elif path.suffix.lower() in SUFFIXES:
            yield path
        elif entry.is_symlink() and _is_folder(path):
            yield SkippedFile(relative(path, root), SkipReason("link to a folder"))
        else:
            yield SkippedFile(
                relative(path, root), SkipReason("no video by its suffix", path.suffix)
            )


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a cycle of links
        return False
