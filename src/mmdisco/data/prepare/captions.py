"""Captions of films: from a list, from the names of folders, or none."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

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
    """What is said of a film, or of a part of it.

    Attributes:
        caption: May be empty.
        start: Seconds.
        end: Seconds; None is the end of the file.
    """

    caption: str
    start: Fraction = Fraction(0)
    end: Fraction | None = None


class Captions(ABC):
    """What is said of films."""

    @abstractmethod
    def of(self, path: Path, root: Path) -> list[CaptionSpan]:
        """The stretches of a film that clips are taken from, at least one."""

    def unused(self) -> list[str]:
        """What was said of films that were not asked for."""
        return []


class NoCaptions(Captions):
    """Nothing is said."""

    def of(self, path: Path, root: Path) -> list[CaptionSpan]:
        """The whole film without a caption."""
        return [CaptionSpan("")]


class FolderNames(Captions):
    """The name of the folder that a film lies in, underscores and hyphens read as spaces."""

    def of(self, path: Path, root: Path) -> list[CaptionSpan]:
        """The whole film; nothing is said of one that lies at the top."""
        folder = path.parent
        if folder == root:
            return [CaptionSpan("")]
        name = folder.name.encode("utf-8", "replace").decode()
        return [CaptionSpan(" ".join(name.replace("_", " ").replace("-", " ").split()))]


class ListedCaptions(Captions):
    """Captions by the name of the file: relative to the source, or the last part of it alone.

    Args:
        stretches: By name.
        unread: Columns of the list that say nothing here.
    """

    def __init__(
        self, stretches: Mapping[str, list[CaptionSpan]], unread: Sequence[str] = ()
    ) -> None:
        self._stretches = dict(stretches)
        self.unread = tuple(unread)
        self._used: set[str] = set()

    def of(self, path: Path, root: Path) -> list[CaptionSpan]:
        """What the list says; a film that is not in it has no caption."""
        for name in (relative(path, root), path.name, path.stem):
            if name in self._stretches:
                self._used.add(name)
                return self._stretches[name]
        return [CaptionSpan("")]

    def unused(self) -> list[str]:
        """Names in the list that no film bears."""
        return [name for name in self._stretches if name not in self._used]


def read_captions(path: Path) -> ListedCaptions:
    """A list of captions: JSON lines, or a table whose first row names its columns.

    Columns or keys are ``path`` and ``caption``; ``start`` and ``end``, in seconds, may say which
    part of the film is meant. A film may have several lines.

    Raises:
        UserError: The list cannot be read, a line of it lacks a name, or it has columns and none of
            captions.
    """
    table = read_table(path, (_FILE, _TEXT, _START, _END), "captions")
    _expect_captions(path, table)
    stretches: dict[str, list[CaptionSpan]] = {}
    for row in table.rows:
        name, stretch = _stretch(row)
        stretches.setdefault(name.removeprefix("./"), []).append(stretch)
    return ListedCaptions(stretches, table.unread)


def _expect_captions(path: Path, table: Table) -> None:
    """Stretches alone are a list too; a column that would say something is not passed over."""
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
