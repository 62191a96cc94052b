"""Captions of videos: from a list, from the names of folders, or none."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from typing_extensions import override

from mmdisco.data.prepare.sources import relative
from mmdisco.errors import UserError
from mmdisco.io.tables import Column, Row, Table, number, read_table

_FILE: Final = Column("path", ("file", "video", "filename", "file_name", "file_path", "name"))
_TEXT: Final = Column(
    "caption", ("captions", "text", "prompt", "description", "label", "title", "sentence")
)
_START: Final = Column("start", ("start_seconds", "start_time", "begin"))
_END: Final = Column("end", ("end_seconds", "end_time"))


@dataclass(frozen=True)
class CaptionSpan:
    """Caption of a video, or of a span of it.

    Attributes:
        caption: The caption; may be empty.
        start: Start in seconds.
        end: End in seconds; None is the end of the file.
    """

    caption: str
    start: Fraction = Fraction(0)
    end: Fraction | None = None


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
        stretches: Captioned spans by name.
        unread: Columns of the list that are not used.
    """

    def __init__(
        self, stretches: Mapping[str, list[CaptionSpan]], unread: Sequence[str] = ()
    ) -> None:
        self._stretches = dict(stretches)
        self.unread = tuple(unread)
        self._used: set[str] = set()

    @override
    def of(self, path: Path, root: Path) -> list[CaptionSpan]:
        """Return the listed spans; a video that is not in the list has no caption."""
        for name in (relative(path, root), path.name, path.stem):
            if name in self._stretches:
                self._used.add(name)
                return self._stretches[name]
        return [CaptionSpan("")]

    @override
    def unused(self) -> list[str]:
        return [name for name in self._stretches if name not in self._used]


def read_captions(path: Path) -> ListedCaptions:
    """Read a list of captions: JSON lines, or a table whose first row names its columns.

    Columns or keys are ``path`` and ``caption``; optional ``start`` and ``end``, in seconds, limit
    the caption to a part of the video. A video may have several lines.

    Raises:
        UserError: The list cannot be read, a line lacks a name, or there is neither a caption nor a
            span among its columns.
    """
    table = read_table(path, (_FILE, _TEXT, _START, _END), "captions")
    _expect_captions(path, table)
    stretches: dict[str, list[CaptionSpan]] = {}
    for row in table.rows:
        name, stretch = _stretch(row)
        stretches.setdefault(name.removeprefix("./"), []).append(stretch)
    return ListedCaptions(stretches, table.unread)


def _expect_captions(path: Path, table: Table) -> None:
    """Check that no likely caption column is ignored; a list of spans alone is allowed."""
    if table.unread and not {_TEXT.name, *_TEXT.synonyms} & set(table.names):
        raise UserError(
            f"{path} has no captions, but {', '.join(table.unread)}: name the column of captions "
            "caption"
        )


def _stretch(row: Row) -> tuple[str, CaptionSpan]:
    name, caption = row.get(_FILE.name), row.get(_TEXT.name)
    if not isinstance(name, str):
        raise UserError(f"{row.place}, names no file: give a column or a key named path")
    if caption is not None and not isinstance(caption, str):
        raise UserError(f"{row.place}: the caption is no text")
    start = _seconds(row, _START.name) or Fraction(0)
    end = _seconds(row, _END.name)
    if end is not None and end <= start:
        raise UserError(f"{row.place}: it ends before it begins")
    return name.strip(), CaptionSpan(" ".join((caption or "").split()), start, end)


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
