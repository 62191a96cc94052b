"""Sources of clips: videos of any layout of files, with captions.

Captions come from a list, from the names of folders, or there are none.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from typing_extensions import override

from mmdisco.errors import UserError
from mmdisco.io.settings import number
from mmdisco.io.tables import Column, Row, Table, read_table
from mmdisco.media.probe import SkipReason

TRAIN: Final = "train"
VALIDATION: Final = "validation"
SPLITS: Final[tuple[str, ...]] = (TRAIN, VALIDATION)


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
        split: ``train`` or ``validation`` where the data set defines the split.
        audio_caption: Caption of the sound, where it is another.
    """

    path: Path
    name: str
    caption: str
    group: str
    start: Fraction = Fraction(0)
    end: Fraction | None = None
    split: str | None = None
    audio_caption: str | None = None


@dataclass(frozen=True)
class SkippedFile:
    """A listed or found file that cannot be used.

    Attributes:
        name: Name as in ``SourceVideo``.
        reason: Reason.
    """

    name: str
    reason: SkipReason


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


_FILE: Final = Column("path", ("file", "video", "filename", "file_name", "file_path", "name"))
_TEXT: Final = Column(
    "caption", ("captions", "text", "prompt", "description", "label", "title", "sentence")
)
_SOUND: Final = Column("audio_caption", ("sound_caption", "audio_prompt", "audio_text"))
_START: Final = Column("start", ("start_seconds", "start_time", "begin"))
_END: Final = Column("end", ("end_seconds", "end_time"))


@dataclass(frozen=True)
class CaptionSpan:
    """Caption of a video, or of a span of it.

    Attributes:
        caption: The caption; may be empty.
        start: Start in seconds.
        end: End in seconds; None is the end of the file.
        audio_caption: Caption of the sound, where it is another.
    """

    caption: str
    start: Fraction = Fraction(0)
    end: Fraction | None = None
    audio_caption: str | None = None


class Captions(ABC):
    """Source of captions."""

    @abstractmethod
    def of(self, path: Path, root: Path) -> list[CaptionSpan]:
        """Return the captioned spans of a video that clips are taken from, at least one."""

    def unused(self) -> list[str]:
        """Return the names of captioned videos that were not found."""
        return []


class NoCaptions(Captions):
    """No captions."""

    @override
    def of(self, path: Path, root: Path) -> list[CaptionSpan]:
        return [CaptionSpan("")]


class FolderNames(Captions):
    """Folder names as captions, underscores and hyphens read as spaces; none at the top level."""

    @override
    def of(self, path: Path, root: Path) -> list[CaptionSpan]:
        folder = path.parent
        if folder == root:
            return [CaptionSpan("")]
        name = folder.name.encode("utf-8", "replace").decode()
        return [CaptionSpan(" ".join(name.replace("_", " ").replace("-", " ").split()))]


class ListedCaptions(Captions):
    """Captions by file name: the path relative to the source, or its last part only.

    Args:
        spans: Captioned spans by name.
        unread: Columns of the list that are not used.
    """

    def __init__(self, spans: Mapping[str, list[CaptionSpan]], unread: Sequence[str] = ()) -> None:
        self._spans = dict(spans)
        self.unread = tuple(unread)
        self._used: set[str] = set()

    @override
    def of(self, path: Path, root: Path) -> list[CaptionSpan]:
        """Return the listed spans; a video that is not in the list has no caption."""
        for name in (relative(path, root), path.name, path.stem):
            if name in self._spans:
                self._used.add(name)
                return self._spans[name]
        return [CaptionSpan("")]

    @override
    def unused(self) -> list[str]:
        return [name for name in self._spans if name not in self._used]


def read_captions(path: Path) -> ListedCaptions:
    """Read a list of captions: JSON lines, or a table whose first row names its columns.

    Columns or keys are ``path`` and ``caption``; optional ``audio_caption`` is that of the sound,
    and ``start`` and ``end``, in seconds, limit the caption to a part of the video. A video may
    have several lines.

    Raises:
        UserError: The list cannot be read, a line lacks a name, or there is neither a caption nor a
            span among its columns.
    """
    table = read_table(path, (_FILE, _TEXT, _SOUND, _START, _END), "captions")
    _expect_captions(path, table)
    spans: dict[str, list[CaptionSpan]] = {}
    for row in table.rows:
        name, span = _span(row)
        spans.setdefault(name.removeprefix("./"), []).append(span)
    return ListedCaptions(spans, table.unread)


def _expect_captions(path: Path, table: Table) -> None:
    """Check that no likely caption column is ignored; a list of spans alone is allowed."""
    known = {_TEXT.name, *_TEXT.synonyms, _SOUND.name, *_SOUND.synonyms}
    if table.unread and not known & set(table.names):
        raise UserError(
            f"{path} has no captions, but {', '.join(table.unread)}: name the column of captions "
            "caption"
        )


def _span(row: Row) -> tuple[str, CaptionSpan]:
    name, caption, sound = (row.get(one.name) for one in (_FILE, _TEXT, _SOUND))
    if not isinstance(name, str):
        raise UserError(f"{row.place}, names no file: give a column or a key named path")
    for text in (caption, sound):
        if text is not None and not isinstance(text, str):
            raise UserError(f"{row.place}: the caption is no text")
    start = _seconds(row, _START.name) or Fraction(0)
    end = _seconds(row, _END.name)
    if end is not None and end <= start:
        raise UserError(f"{row.place}: it ends before it begins")
    said, heard = (" ".join((text or "").split()) for text in (caption, sound))
    return name.strip(), CaptionSpan(said, start, end, None if heard in ("", said) else heard)


def _seconds(row: Row, name: str) -> Fraction | None:
    value: Any = row.get(name)
    if value is None:
        return None
    try:
        seconds = number(value).limit_denominator(1_000_000)
    except ValueError as error:
        raise UserError(f"{row.place}: {str(value)[:40]!r} is no number of seconds") from error
    if seconds < 0:
        raise UserError(f"{row.place}: {value!r} is before the beginning")
    return seconds
