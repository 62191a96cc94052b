"""Files of options: prompts as JSON lines or a table with a header, and YAML."""

from pathlib import Path
from typing import Any, Final

from mmdisco.cli.generate_plan import PromptLine
from mmdisco.errors import UserError
from mmdisco.generation.config import REQUEST, GenerateConfig
from mmdisco.io.settings import shown, unknown
from mmdisco.io.tables import Column, Row, read_table
from mmdisco.io.yaml_files import read_mapping

_ASKING: Final = {"prompt", "audio_prompt", "no_prompt", "video", "audio"}


def read_prompts(path: Path) -> list[PromptLine]:
    """Read the lines of a file, empty ones apart.

    ``.jsonl``: a string a line, or an object of ``prompt`` and other options of a clip. ``.csv``: a
    table whose first row names them. Options that choose or build the system are not among them.

    Raises:
        UserError: The file cannot be read, or a line has no prompt or an unknown option.
    """
    table = read_table(path, [Column(name) for name in REQUEST], "prompts", alone="prompt")
    lines = [_line(row) for row in table.rows]
    if table.unread:
        raise UserError(f"{path} has {shown(table.unread[0])}: known are {', '.join(REQUEST)}")
    if not lines:
        raise UserError(f"{path} holds no prompts")
    return lines


def read_options(path: Path) -> dict[str, Any]:
    """Read the options of a YAML file.

    Raises:
        UserError: The file cannot be read, or names an unknown option.
    """
    values = read_mapping(path)
    for name in values:
        if name not in GenerateConfig.model_fields:
            raise UserError(f"{path}: {unknown(name, GenerateConfig.model_fields)}")
    return {name: value for name, value in values.items() if value is not None}


def _line(row: Row) -> PromptLine:
    options = {name: row.get(name) for name in row.fields if row.get(name) is not None}
    if not options.keys() & _ASKING and not isinstance(row.fields.get("prompt"), str):
        raise UserError(f"{row.place}, has no prompt: give a column or a key named prompt")
    return PromptLine(options, row.place)
