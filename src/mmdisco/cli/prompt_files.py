"""Prompts from a file: JSON lines, or a table with a header."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mmdisco.errors import UserError

KNOWN: Final = ("prompt", "negative_prompt", "seed")


@dataclass(frozen=True)
class Line:
    """One line of a file.

    Attributes:
        prompt: The prompt.
        negative_prompt: None where the line says nothing of it.
        seed: Likewise.
    """

    prompt: str
    negative_prompt: str | None = None
    seed: int | None = None


def read_prompts(path: Path) -> list[Line]:
    """All lines of a file, empty ones apart.

    ``.jsonl``: a string a line, or an object with ``prompt`` and, if wanted, ``negative_prompt``
    and ``seed``. ``.csv``: a table whose first row names these columns.

    Raises:
        UserError: The file cannot be read, or a line holds anything else.
    """
    readers = {".jsonl": _json_lines, ".csv": _table}
    suffix = path.suffix.lower()
    if suffix not in readers:
        raise UserError(f"{path} is no list of prompts: the name must end in .jsonl or .csv")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text: write it in UTF-8") from error
    lines = [_line(path, number, record) for number, record in readers[suffix](path, text)]
    if not lines:
        raise UserError(f"{path} holds no prompts")
    return lines


def _json_lines(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                value = json.loads(line)
            except ValueError as error:
                raise UserError(f"{path}, line {number}, is not JSON: {error}") from error
            yield number, {"prompt": value} if isinstance(value, str) else value


def _table(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    try:
        reader = csv.DictReader(text.splitlines(keepends=True), strict=True)
        for record in reader:
            given = {key: value for key, value in record.items() if value or key == "prompt"}
            yield reader.line_num, given
    except csv.Error as error:
        raise UserError(f"{path} is no table: {error}") from error


def _line(path: Path, number: int, record: Any) -> Line:
    where = f"{path}, line {number}"
    if not isinstance(record, dict) or not isinstance(record.get("prompt"), str):
        raise UserError(f"{where}, has no prompt: give a column or a key named prompt")
    strange = [str(key) for key in record if key not in KNOWN]
    if strange:
        raise UserError(f"{where}, has {strange[0]!r}: known are {', '.join(KNOWN)}")
    negative, seed = record.get("negative_prompt"), record.get("seed")
    if negative is not None and not isinstance(negative, str):
        raise UserError(f"{where}: the negative prompt is no text")
    try:
        number_of = None if seed is None else int(str(seed))
    except ValueError as error:
        raise UserError(f"{where}: the seed {seed!r} is no whole number") from error
    return Line(record["prompt"], negative, number_of)
