"""Published pickles of weights, read as tensors and nothing else.

Every fault is a ``UserError`` of one line that names the file. Independent of networks.
"""

import pickle
import re
import struct
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from mmdisco.errors import UserError
from mmdisco.io.files import expect_file

Rules = Sequence[tuple[str, str | Callable[[re.Match[str]], str]]]
"""Regular expressions and their replacements, each applied to the result of those before it."""

# the exceptions of torch.load on senseless bytes
_SENSELESS: Final = (
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
)


def read_pickle(path: Path) -> Any:
    """Read what ``torch.save`` wrote, as long as it is tensors, numbers, texts and lists of such.

    The tensors of a new file stay on disk until they are used.

    Raises:
        UserError: The file is missing, damaged, or holds anything else, which could run as a
            program while it is read.
    """
    expect_file(path)
    try:
        archive = zipfile.is_zipfile(path)
        if archive and _unfolds(path):
            raise UserError(f"{path} is compressed, which torch.save never does: get it again")
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
        _expect_stored(found, path)
        return found
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} is damaged or holds more than tensors, which is not loaded because it could "
            "run programs: get it again, or save its state dict alone"
        ) from error
    except _SENSELESS as error:
        raise UserError(f"{path} is damaged or cut short: get it again") from error


def _unfolds(path: Path) -> bool:
    """Whether an archive holds more than its own size."""
    with zipfile.ZipFile(path) as archive:
        return sum(one.file_size for one in archive.infolist()) > path.stat().st_size


def _expect_stored(value: Any, path: Path) -> None:
    """Check that every number of every tensor is in the file.

    Raises:
        UserError: A tensor claims to be larger than its storage.
    """
    waiting, seen = [value], set[int]()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, Tensor):
            if one.numel() * one.element_size() > one.untyped_storage().nbytes():
                raise UserError(f"{path} is damaged: a tensor is larger than its numbers")
        elif isinstance(one, Mapping):
            waiting.extend(one.values())
        elif isinstance(one, list | tuple):
            waiting.extend(one)


def state_dict(record: Any, path: Path) -> dict[str, Tensor]:
    """Return ``record`` if it is a state dict.

    Args:
        record: Content of a checkpoint.
        path: File of that checkpoint, for the message.

    Raises:
        UserError: It is not a state dict.
    """
    if not isinstance(record, Mapping) or not record:
        raise UserError(f"{path} holds no state dict: take the file that the model is published as")
    if not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in record.items()):
        raise UserError(
            f"{path} holds no state dict, or more than one: save the tensors by name alone"
        )
    return dict(record)


def renamed(weights: Mapping[str, Tensor], rules: Rules, path: Path) -> dict[str, Tensor]:
    """Rename weights; a name that no rule matches is kept.

    Args:
        weights: Tensors by their published names.
        rules: Rules from the published names to ours.
        path: File of the weights, for the message.

    Raises:
        UserError: Two weights get the same name.
    """
    named = {rename(name, rules): value for name, value in weights.items()}
    if len(named) < len(weights):
        raise UserError(f"{path} holds another network, some weights twice: get it again")
    return named


def rename(name: str, rules: Rules) -> str:
    """Apply every rule to a name."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
