"""Files that are whole or not there: written beside and renamed into place.

Knows JSON and safetensors; knows nothing of what they hold.
"""

import json
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mmdisco.errors import UserError


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """A file beside ``path``, of the same suffix, that takes its place once the block succeeds.

    Folders on the way are made. After an error, or a kill, ``path`` is as it was.

    Raises:
        UserError: The place cannot be written to.
    """
    beside = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield beside
            with beside.open("rb") as file:
                # without this a power cut can leave the new name on an empty file
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"cannot write {path}: {reason[:1].lower()}{reason[1:]}") from error


def write_text(path: Path, text: str) -> None:
    """Write a text file whole."""
    with replacing(path) as beside:
        beside.write_text(text)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON, whole, with a final newline."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        UserError: There is no such file, or it does not hold JSON.
    """
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, whole."""
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    with replacing(path) as beside:
        save_file(contiguous, beside, dict(metadata))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        UserError: There is no such file, or it is cut short or no safetensors file.
    """
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise UserError(f"{path} is not there") from error
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is damaged or no safetensors file: {error}") from error
