"""Options of a command from the fields of a configuration."""

import inspect
import types
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mmdisco.generation.config import Panel, Positional


def with_options(
    function: Callable[..., Any], config: type[BaseModel], without: tuple[str, ...]
) -> Callable[..., Any]:
    """Return a command whose keyword arguments are options for fields of a configuration.

    Args:
        function: The command; its own parameters stay.
        config: The configuration.
        without: Names of fields that are no options.
    """
    own = inspect.signature(function).parameters.values()
    kept = [
        one.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for one in own
        if one.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    fields = config.model_fields
    added = [_parameter(name, fields[name]) for name in fields if name not in without]

    @wraps(function)
    def command(**values: Any) -> Any:
        return function(**values)

    setattr(command, "__signature__", inspect.Signature([*added, *kept]))  # noqa: B010
    return command


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given: an absent one is ``None``, or ``False`` for a flag."""
    return {name: one for name, one in options.items() if one is not None and one is not False}


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    panel = next((one.title for one in field.metadata if isinstance(one, Panel)), None)
    kind = _kind(field.annotation)
    unset = field.default is None or field.default is False or field.default == ""
    said = " ".join((field.description or "").split())
    info: Any
    positional = next((one for one in field.metadata if isinstance(one, Positional)), None)
    if positional is not None:
        info = typer.Argument(help=said)
        kind = list[kind] if positional.several else kind
    else:
        info = typer.Option(
            f"--{name.replace('_', '-')}",
            help=said,
            rich_help_panel=panel,
            show_default=False if unset or field.is_required() else f"{field.default}",
        )
    if field.is_required():
        one = inspect.Parameter.KEYWORD_ONLY
        return inspect.Parameter(name, one, annotation=Annotated[kind, info])
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=False if kind is bool else None,
        annotation=Annotated[bool if kind is bool else kind | None, info],
    )


def _kind(annotation: Any) -> Any:
    """Return the type that the command line reads for a field."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _kind(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return _kind(next(one for one in get_args(annotation) if one is not type(None)))
    if annotation is Fraction:
        return float
    return annotation if annotation in (bool, int, float, Path) else str
