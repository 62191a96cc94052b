"""Atomic files: written beside their destination and renamed into place.

Input is bounded before it is read: regular files alone, limited in size, depth and numbers.
JSON and safetensors are read and written here, whatever they contain.
"""

import errno
import hashlib
import json
import math
import os
import re
import shutil
import socket
import stat
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import TYPE_CHECKING, Any, Final

from safetensors import SafetensorError, safe_open

from mmdisco.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

MOST_BYTES: Final = 2**24
"""Largest text file that is read whole: a configuration, a record, a list of shards."""

MOST_LIST_BYTES: Final = 2**30
"""Largest file with one line per clip of a large data set."""

MOST_DEEP: Final = 32
"""Deepest nesting of lists and dictionaries."""

# the library's exceptions on senseless bytes, and on types that torch does not have
_NO_TENSORS: Final = (
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    SafetensorError,
    TypeError,
    ValueError,
)
HERE: Final = re.sub(r"\W", "-", socket.gethostname())[:64]
# as ``_beside`` and ``scratch`` name them: the process and the machine that write there
_LEFTOVER: Final = re.compile(r"\..+\.(\d+)@([\w-]*)\.part(\.\w+)?")
_SCRATCH: Final = re.compile(r"mmdisco-(\d+)@([\w-]*)\.\w+")
# seconds; a file that another machine has not touched for so long is abandoned
_ABANDONED: Final = 86400


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """Yield a file beside ``path``, of the same suffix, that replaces it once the block succeeds.

    Missing folders are created. After an error, or a kill, ``path`` is unchanged.

    Raises:
        UserError: The place cannot be written to.
    """
    beside = _beside(path)
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
        raise cannot_write(path, error) from error


def remove_leftovers(folder: Path) -> None:
    """Delete half-written files of killed processes below a folder that no process writes to."""
    for path in folder.rglob(".*.part*"):
        if _LEFTOVER.fullmatch(path.name):
            path.unlink(missing_ok=True)


def remove_abandoned(paths: Iterable[Path]) -> None:
    """Delete those of ``paths`` that killed processes left half-written; others may be in use.

    A file whose process lives on this machine is left alone, and so is one that another machine
    has touched within a day.
    """
    for path in paths:
        named = _LEFTOVER.fullmatch(path.name) or _SCRATCH.fullmatch(path.name)
        # other users' files, and files that another process is deleting, are not reported
        with suppress(OSError):
            if named and _is_abandoned(path, int(named[1]), named[2]):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)


@contextmanager
def scratch() -> Generator[Path]:
    """Yield a temporary folder; folders of killed processes are deleted."""
    remove_abandoned(Path(gettempdir()).glob("mmdisco-*"))
    with TemporaryDirectory(prefix=f"mmdisco-{os.getpid()}@{HERE}.") as folder:
        yield Path(folder)


def _is_abandoned(path: Path, process: int, machine: str) -> bool:
    if machine != HERE:
        return time.time() - path.stat().st_mtime > _ABANDONED
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


def expect_writable(path: Path) -> None:
    """Check, before work is spent on a file, that ``replacing`` will be able to put it there.

    Creates no folder and leaves nothing behind.

    Raises:
        UserError: The place cannot be written to.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        folder = next(folder for folder in path.parents if folder.exists())
        beside = folder / _beside(path).name
        try:
            beside.touch()
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically, with a final newline."""
    write_text(path, json_text(value, indent=1) + "\n")


def json_text(value: Any, indent: int | None = None) -> str:
    """Return JSON that can be encoded as UTF-8 whatever it contains.

    File names may hold bytes that are no text, which Python keeps as lone surrogates; with
    those all but ASCII is escaped.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, indent=indent)
    return text


def plain(value: Any) -> Any:
    """Return ``value`` as JSON would return it; numbers that are not finite become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """Read a text file in UTF-8; a byte order mark is skipped.

    Args:
        path: A regular file.
        most: Largest size in bytes; a larger file is refused before it is read.

    Raises:
        UserError: The file is missing, too large or no text.
    """
    size = expect_file(path)
    if size > most:
        raise UserError(f"{path} has {size:,} bytes, more than the {most:,} that are read of such")
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot read {path}: {_reason(error)}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text in UTF-8") from error


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        UserError: The file is missing, or ``parse_json`` refuses it.
    """
    return parse_json(read_text(path), str(path))


def read_object(path: Path) -> dict[str, Any]:
    """Read JSON that is an object.

    Raises:
        UserError: As in ``read_json``, or it is not an object.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise UserError(f"{path} is damaged or of another kind: it holds no JSON object")
    return value


def parse_json(text: str, source: str) -> Any:
    """Parse a JSON text.

    Args:
        text: The text.
        source: Its origin, for messages.

    Raises:
        UserError: It is not JSON, or ``expect_modest`` refuses it.
    """
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise UserError(f"{source} is nested too deeply") from error
    except ValueError as error:
        raise UserError(f"{source} is not JSON: {error}") from error
    expect_modest(value, source)
    return value


def expect_modest(value: Any, source: str) -> None:
    """Check that a value from a file is safe to traverse and to calculate with.

    Raises:
        UserError: It is nested more than ``MOST_DEEP`` deep, has an integer of more than 64
            bits, or a text with a null character, which no file name may have.
    """
    waiting = [(value, 0)]
    while waiting:
        one, depth = waiting.pop()
        if depth > MOST_DEEP:
            raise UserError(f"{source} is nested too deeply")
        if isinstance(one, dict):
            waiting.extend((inner, depth + 1) for pair in one.items() for inner in pair)
        elif isinstance(one, list):
            waiting.extend((inner, depth + 1) for inner in one)
        elif isinstance(one, str) and "\0" in one:
            raise UserError(f"{source} holds a null character in {one[:40]!r}")
        elif isinstance(one, int) and abs(one) >= 2**64:
            raise UserError(f"{source} holds a number of {one.bit_length()} bits: give at most 64")


@contextmanager
def understood(path: Path) -> Generator[None]:
    """Report values of a wrong kind in the block as damage of the file.

    Raises:
        UserError: The values are not of the kind that the block works with.
    """
    try:
        yield
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RuntimeError,  # torch refuses sizes with this and the next two; nesting is one of it
        TypeError,
        ValueError,
    ) as error:
        raise _senseless(path, error) from error


def write_tensors(path: Path, tensors: "Mapping[str, Tensor]", metadata: Mapping[str, str]) -> None:
    """Write a safetensors file atomically."""
    # torch takes seconds to import, which JSON and text need not wait for
    from safetensors.torch import save_file

    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    with replacing(path) as beside:
        try:
            save_file(contiguous, beside, dict(metadata))
        except SafetensorError as error:  # a full disk is reported as one of these
            raise OSError(str(error)) from error
        beside.chmod(0o644)  # the library writes for the owner alone, and a wheel keeps that


@dataclass(frozen=True)
class Header:
    """Header of a safetensors file.

    Attributes:
        shapes: Shape of every tensor, by name.
        types: Data type of every tensor, by name.
        metadata: Free text.
    """

    shapes: Mapping[str, tuple[int, ...]]
    types: Mapping[str, str]
    metadata: Mapping[str, str]


def read_header(path: Path) -> Header:
    """Read the header of a safetensors file, without the tensors.

    Raises:
        UserError: The file is missing, cut short or no safetensors file.
    """
    expect_file(path)
    try:
        with safe_open(path, "pt") as file:
            slices = {name: file.get_slice(name) for name in sorted(file.keys())}
            shapes = {name: tuple(one.get_shape()) for name, one in slices.items()}
            types = {name: str(one.get_dtype()) for name, one in slices.items()}
            return Header(shapes, types, file.metadata() or {})
    except _NO_TENSORS as error:
        raise _no_tensors(path, error) from error


def read_tensors(path: Path) -> "dict[str, Tensor]":
    """Read a safetensors file.

    Raises:
        UserError: The file is missing, cut short or no safetensors file.
    """
    from safetensors.torch import load_file

    expect_file(path)
    try:
        return load_file(path)
    except _NO_TENSORS as error:
        raise _no_tensors(path, error) from error


def expect_file(path: Path) -> int:
    """Return the size of a regular file in bytes.

    Pipes, devices and folders are refused: reading one may never end.

    Raises:
        UserError: There is no such file, or its status cannot be read.
    """
    try:
        state = path.stat()
    except FileNotFoundError as error:
        raise UserError(f"{path} is not there") from error
    except (OSError, ValueError) as error:  # a name with a null character is a ValueError
        raise UserError(f"cannot read {path}: {_reason(error)}") from error
    if not stat.S_ISREG(state.st_mode):
        raise UserError(f"{path} is no file that can be read: give a regular one")
    return state.st_size


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal.

    Raises:
        UserError: The file cannot be read.
    """
    expect_file(path)
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"cannot read {path}: {_reason(error)}") from error


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.stem}.{os.getpid()}@{HERE}.part{path.suffix}")


def _senseless(path: Path, error: Exception) -> UserError:
    said = " ".join(str(error).split())[:120]
    return UserError(f"{path} is damaged or of another kind: {type(error).__name__} ({said})")


def _no_tensors(path: Path, error: Exception) -> UserError:
    said = " ".join(str(error).split())[:120]
    return UserError(f"{path} is damaged or no safetensors file: {said}")


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def cannot_write(path: Path, error: OSError) -> UserError:
    """Build the message for a file that the system does not let the process write."""
    reason = _reason(error)
    return UserError(f"cannot write {path}: {reason[:1].lower()}{reason[1:]}")
