"""Tables that users write: CSV after RFC 4180, and JSON lines.

Rows end at line feeds only, whatever else a field holds. Independent of any particular column.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mmdisco.errors import UserError
from mmdisco.io.files import expect_file, expect_modest

LONGEST_LINE: Final = 1 << 20  # bytes
_MARK: Final = "\ufeff"  # byte order mark, with which some programs begin a file
_WHOLE: Final = re.compile(r"[+-]?\d{1,30}", re.ASCII)


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: Its name in this project.
        synonyms: Its names elsewhere, in lower case, words joined by underscores.
    """

    name: str
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One row, or one line of JSON.

    Attributes:
        place: File and number of the line it begins at, for messages.
        fields: Values by the columns' own names; a missing one is left out, a blank one is not.
    """

    place: str
    fields: Mapping[str, Any]

    def get(self, name: str) -> Any:
        """Return a field; None where it is blank or missing."""
        value = self.fields.get(name)
        return None if _blank(value) else value


@dataclass(frozen=True)
class Table:
    """All rows of a file.

    Attributes:
        rows: Rows in the order of the file; blank ones are left out.
        names: Names of all columns, in lower case.
        unread: Names of the columns with content that no row uses.
    """

    rows: Sequence[Row]
    names: Sequence[str]
    unread: Sequence[str]


def read_table(path: Path, columns: Sequence[Column], kind: str, alone: str | None = None) -> Table:
    """Read a ``.csv`` file whose first row names its columns, or a ``.jsonl`` file of objects.

    The case of a column's name and blanks around it do not count.

    Args:
        path: The file.
        columns: The columns to read.
        kind: What the table lists, for messages.
        alone: The column to which a line of JSON belongs that is text and no object.

    Raises:
        UserError: The file cannot be read, or a line of it is no row.
    """
    readers = {".jsonl": _objects, ".csv": _named_rows}
    if path.suffix.lower() not in readers:
        raise UserError(f"{path} is no list of {kind}: the name must end in .jsonl or .csv")
    rows: list[Row] = []
    names: dict[str, None] = {}
    unread: dict[str, None] = {}
    for place, record in readers[path.suffix.lower()](path):
        named = {alone: record} if alone and isinstance(record, str) else record
        if not isinstance(named, dict):
            wanted = " and ".join(column.name for column in columns[:2])
            raise UserError(f"{place}, is no record: give {wanted}")
        taken = {column.name: _taken(named, column) for column in columns}
        fields = {name: named[key] for name, key in taken.items() if key is not None}
        rows.append(Row(place, fields))
        names |= dict.fromkeys(named)
        left = named.keys() - set(taken.values())
        unread |= {key: None for key in named if key in left and not _blank(named[key])}
    return Table(rows, list(names), list(unread))


def read_rows(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Read the rows of a CSV file, with or without names of columns.

    Yields:
        File and line of each row, and its fields; blank rows are left out.

    Raises:
        UserError: The file cannot be read, or a row of it is none.
    """
    count = 0

    def counted() -> Iterator[str]:
        nonlocal count
        for count, line in enumerate(_lines(path), 1):  # noqa: B007 - read below
            yield line

    reader = csv.reader(counted(), strict=True, skipinitialspace=True)
    while True:
        place = f"{path}, line {count + 1}"
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise UserError(f"{place}, is no row of a table: {_in_words(error)}") from error
        if row is None:
            return
        if not all(map(_blank, row)):
            yield place, row


def whole_number(value: Any) -> int:
    """Parse an integer of a table.

    Raises:
        ValueError: It is not an integer, or has more than 30 digits.
    """
    if isinstance(value, bool) or not _WHOLE.fullmatch(str(value).strip()):
        raise ValueError(value)
    return int(str(value))


def _named_rows(path: Path) -> Iterator[tuple[str, Any]]:
    rows = read_rows(path)
    place, header = next(rows, (f"{path}, line 1", []))
    names = [_plain(name) for name in header]
    if len(header) == 1 and (mark := next((one for one in ";\t|" if one in header[0]), None)):
        raise UserError(f"{place}, parts its fields by {mark!r}: write commas")
    try:
        _unique((name, None) for name in names if name)
    except ValueError as error:
        raise UserError(f"{place}, {error}") from error
    for place, row in rows:
        if any(not _blank(field) for name, field in _paired(names, row) if not name):
            raise UserError(
                f"{place}, has {len(row)} fields, and the first row names "
                f"{sum(map(bool, names))}: if a field has a comma in it, put quotes around it"
            )
        yield place, {name: field for name, field in _paired(names, row) if name}


def _paired(names: Sequence[str], row: Sequence[str]) -> Iterator[tuple[str, str]]:
    for index, field in enumerate(row):
        yield names[index] if index < len(names) else "", field


def _objects(path: Path) -> Iterator[tuple[str, Any]]:
    for count, line in enumerate(_lines(path), 1):
        if line.strip():
            place = f"{path}, line {count}"
            try:
                value = _value(line)
            except RecursionError as error:
                raise UserError(f"{place}, is nested too deeply: give one flat object") from error
            except json.JSONDecodeError as error:
                said = f"{error.msg[:1].lower()}{error.msg[1:]} at column {error.colno}"
                raise UserError(f"{place}, is not JSON: {said}") from error
            except ValueError as error:
                raise UserError(f"{place}, {error}") from error
            expect_modest(value, f"{place},")
            yield place, value


def _value(line: str) -> Any:
    value = json.loads(
        line, object_pairs_hook=_unique, parse_int=_digits, parse_constant=_no_number
    )
    texts = value.values() if isinstance(value, dict) else (value,)
    for text in texts:
        if isinstance(text, str) and any("\ud800" <= letter <= "\udfff" for letter in text):
            raise ValueError("has half of a letter: write it in UTF-8")
    return value


def _digits(text: str) -> int:
    try:
        return whole_number(text)
    except ValueError as error:
        raise ValueError(f"has a number of {len(text)} digits: give at most 30") from error


def _no_number(text: str) -> None:
    raise ValueError(f"has {text}, which is no number")


def _lines(path: Path) -> Iterator[str]:
    """Yield lines with their line feeds; a byte order mark is left out."""
    try:
        expect_file(path)
        with path.open("rb") as file:
            count = 0
            while raw := file.readline(LONGEST_LINE + 1):
                count += 1
                place = f"{path}, line {count}"
                if len(raw) > LONGEST_LINE:
                    raise UserError(f"{place}, is longer than {LONGEST_LINE >> 20} MiB")
                try:
                    line = raw.decode("utf-8")
                except UnicodeDecodeError as error:
                    raise UserError(f"{place}, is no text: write the file in UTF-8") from error
                if "\0" in line:
                    raise UserError(f"{place}, has a zero byte: write the file in UTF-8")
                yield line.removeprefix(_MARK) if count == 1 else line
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def _in_words(error: csv.Error) -> str:
    text = str(error)
    if "unexpected end" in text or "field larger" in text:
        return "a field begins with quotes that nothing closes"
    if "new-line" in text:
        return "it has a carriage return alone: end rows with line feeds"
    return f"{text}: double the quotes within a field, and put quotes around it"


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if (name := _plain(key)) in found:
            raise ValueError(f"names {name[:40]!r} twice: leave one out")
        found[name] = value
    return found


def _taken(named: Mapping[str, Any], column: Column) -> str | None:
    """Return a record's name for a column: the first that is not blank, else the first."""
    there = [name for name in (column.name, *column.synonyms) if name in named]
    return next((name for name in there if not _blank(named[name])), there[0] if there else None)


def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().casefold())


def _blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())
