"""Configurations as JSON and back: nested dataclasses, each with the name of its kind.

Knows which names there are from whoever asks; knows no network.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from mmdisco.errors import UserError


def to_record(config: Any, kinds: Mapping[str, type]) -> Any:
    """``config`` in JSON's types.

    Args:
        config: A dataclass of ``kinds`` of such, of tuples and of numbers.
        kinds: The name of every dataclass that occurs.
    """
    if isinstance(config, tuple):
        return [to_record(value, kinds) for value in config]
    if not dataclasses.is_dataclass(config):
        return config
    (kind,) = (name for name, one in kinds.items() if type(config) is one)
    fields = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    return {"kind": kind, **{name: to_record(value, kinds) for name, value in fields.items()}}


def from_record(record: Any, kinds: Mapping[str, type]) -> Any:
    """Undo ``to_record``.

    Raises:
        UserError: A kind is unknown, or the fields are not those of its kind.
    """
    if isinstance(record, list):
        return tuple(from_record(value, kinds) for value in record)
    if not isinstance(record, dict):
        return record
    fields = {name: from_record(value, kinds) for name, value in record.items() if name != "kind"}
    kind = kinds.get(str(record.get("kind")))
    if kind is None:
        raise _refusal(f"a part of kind {record.get('kind')}")
    try:
        return kind(**fields)
    except (AttributeError, TypeError) as error:
        raise _refusal(" ".join(str(error).split())[:120]) from error


def _refusal(reason: str) -> UserError:
    return UserError(
        f"no configuration of a released discriminator ({reason}): convert the published file again"
    )
