"""Prompts from a file: JSON lines, or a table with a header."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mmdisco.errors import UserError
from mmdisco.io.tables import Column, Row, read_table, whole_number

KNOWN: Final = ("prompt", "negative_prompt", "seed")


@dataclass(frozen=True)
class PromptLine:
    """One line of a file.

    Attributes:
        prompt: The prompt.
        negative_prompt: None where the line says nothing of it.
        seed: Likewise.
        place: File and line, for messages; None where there is no file.
    """

    prompt: str
    negative_prompt: str | None = None
    seed: int | None = None
    place: str | None = None


def read_prompts(path: Path) -> list[PromptLine]:
    """All lines of a file, empty ones apart.

    ``.jsonl``: a string a line, or an object with ``prompt`` and, if wanted, ``negative_prompt``
    and ``seed``. ``.csv``: a table whose first row names these columns.

    Raises:
        UserError: The file cannot be read, or a line holds anything else.
    """
    table = read_table(path, [Column(name) for name in KNOWN], "prompts", alone="prompt")
    lines = [_line(row) for row in table.rows]
    if table.unread:
        raise UserError(f"{path} has {table.unread[0]!r}: known are {', '.join(KNOWN)}")
    if not lines:
        raise UserError(f"{path} holds no prompts")
    return lines


def _line(row: Row) -> PromptLine:
    prompt, negative, seed = row.fields.get("prompt"), row.get("negative_prompt"), row.get("seed")
    if not isinstance(prompt, str):
        raise UserError(f"{row.place}, has no prompt: give a column or a key named prompt")
    if negative is not None and not isinstance(negative, str):
        raise UserError(f"{row.place}: the negative prompt is no text")
    try:
        number = None if seed is None else whole_number(seed)
    except ValueError as error:
        raise UserError(f"{row.place}: the seed {_short(seed)} is no whole number") from error
    return PromptLine(prompt, negative, number, row.place)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 40 else f"{text[:36]}…"
