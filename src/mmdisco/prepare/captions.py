"""Captions of films: from a list, from the names of folders, or none."""

import csv
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from mmdisco.errors import UserError
from mmdisco.prepare.walking import relative

_FILE: Final = ("path", "file", "video", "filename", "name")
_TEXT: Final = ("caption", "text", "prompt", "label")
_START: Final = ("start", "start_seconds")
_END: Final = ("end", "end_seconds")


@dataclass(frozen=True)
class Stretch:
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
    def of(self, path: Path, root: Path) -> list[Stretch]:
        """The stretches of a film that clips are taken from, at least one."""

    def unused(self) -> list[str]:
        """What was said of films that were not asked for."""
        return []


class NoCaptions(Captions):
    """Nothing is said."""

    def of(self, path: Path, root: Path) -> list[Stretch]:
        """The whole film without a caption."""
        return [Stretch("")]


class FolderNames(Captions):
    """The name of the folder that a film lies in, underscores and hyphens read as spaces."""

    def of(self, path: Path, root: Path) -> list[Stretch]:
        """The whole film; nothing is said of one that lies at the top."""
        folder = path.parent
        if folder == root:
            return [Stretch("")]
        name = folder.name.encode("utf-8", "replace").decode()
        return [Stretch(" ".join(name.replace("_", " ").replace("-", " ").split()))]


class ListedCaptions(Captions):
    """Captions by the name of the file: relative to the source, or the last part of it alone.

    Args:
        stretches: By name.
    """

    def __init__(self, stretches: Mapping[str, list[Stretch]]) -> None:
        self._stretches = dict(stretches)
        self._used: set[str] = set()

    def of(self, path: Path, root: Path) -> list[Stretch]:
        """What the list says; a film that is not in it has no caption."""
        for name in (relative(path, root), path.name, path.stem):
            if name in self._stretches:
                self._used.add(name)
                return self._stretches[name]
        return [Stretch("")]

    def unused(self) -> list[str]:
        """Names in the list that no film bears."""
        return [name for name in self._stretches if name not in self._used]


def read_captions(path: Path) -> ListedCaptions:
    """A list of captions: JSON lines, or a table whose first row names its columns.

    Columns or keys are ``path`` and ``caption``; ``start`` and ``end``, in seconds, may say which
    part of the film is meant. A film may have several lines.

    Raises:
        UserError: The list cannot be read, or a line of it lacks a name.
    """
    readers = {".jsonl": _json_lines, ".csv": _table}
    if path.suffix.lower() not in readers:
        raise UserError(f"{path} is no list of captions: the name must end in .jsonl or .csv")
    stretches: dict[str, list[Stretch]] = {}
    for number, record in readers[path.suffix.lower()](path, read_list(path)):
        name, stretch = _line(f"{path}, line {number}", record)
        stretches.setdefault(name.removeprefix("./"), []).append(stretch)
    return ListedCaptions(stretches)


def read_list(path: Path) -> str:
    """The text of a list.

    Raises:
        UserError: It cannot be read, or is no text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text: write it in UTF-8") from error


def _json_lines(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except ValueError as error:
                raise UserError(f"{path}, line {number}, is not JSON: {error}") from error


def _table(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    try:
        reader = csv.DictReader(text.splitlines(keepends=True), strict=True)
        for record in reader:
            yield reader.line_num, record
    except csv.Error as error:
        raise UserError(f"{path} is no table: {error}") from error


def _line(where: str, record: Any) -> tuple[str, Stretch]:
    if not isinstance(record, dict):
        raise UserError(f"{where}, is no record: give path and caption")
    name, caption = _first(record, _FILE), _first(record, _TEXT)
    if not isinstance(name, str) or not name:
        raise UserError(f"{where}, names no file: give a column or a key named path")
    if caption is not None and not isinstance(caption, str):
        raise UserError(f"{where}: the caption is no text")
    start = _seconds(where, _first(record, _START)) or Fraction(0)
    end = _seconds(where, _first(record, _END))
    if end is not None and end <= start:
        raise UserError(f"{where}: it ends before it begins")
    return name, Stretch(" ".join((caption or "").split()), start, end)


def _first(record: Mapping[Any, Any], names: tuple[str, ...]) -> Any:
    return next((record[name] for name in names if record.get(name) not in (None, "")), None)


def _seconds(where: str, value: Any) -> Fraction | None:
    if value is None:
        return None
    try:
        seconds = Fraction(str(value)).limit_denominator(1_000_000)
    except (ValueError, ZeroDivisionError) as error:
        raise UserError(f"{where}: {value!r} is no number of seconds") from error
    if seconds < 0:
        raise UserError(f"{where}: {value!r} is before the beginning")
    return seconds
