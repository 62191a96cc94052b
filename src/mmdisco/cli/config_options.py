"""Options of a command from the fields of a configuration."""

import inspect
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from mmdisco.io.settings import Named, Panel, Positional, Settings, value_type

Mark = TypeVar("Mark", Named, Panel, Positional)


def with_options(
    function: Callable[..., Any],
    config: type[Settings],
    without: tuple[str, ...],
    only: Mapping[str, str],
) -> Callable[..., Any]:
    """Return a command whose keyword arguments are options for fields of a configuration.

    Args:
        function: The command; its own parameters stay.
        config: The configuration.
        without: Names of fields that are no options.
        only: Dotted key by name of the option, where not every field is one.
    """
    own = inspect.signature(function).parameters.values()
    kept = [
        one.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for one in own
        if one.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    keys = only or {name: name for name in config.model_fields if name not in without}
    added = [_parameter(name, config.field_of(key)) for name, key in keys.items()]

    @wraps(function)
    def command(**values: Any) -> Any:
        return function(**values)

    setattr(command, "__signature__", inspect.Signature([*added, *kept]))  # noqa: B010
    return command


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given: an absent one is ``None``."""
    return {name: one for name, one in options.items() if one is not None}


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    kind, default = _kind(field.annotation), field.default
    said = " ".join((field.description or "").split())
    info: Any
    if positional := _mark(field, Positional):
        info = typer.Argument(help=said)
        kind = list[kind] if positional.several else kind
    else:
        named, panel = _mark(field, Named), _mark(field, Panel)
        unset = default in (None, "") or default is False or isinstance(default, tuple)
        info = typer.Option(
            named.name if named else f"--{name.replace('_', '-')}",
            help=said,
            rich_help_panel=panel.title if panel else None,
            metavar="NUMBER" if value_type(field.annotation) is Fraction else None,
            show_default=False if unset or field.is_required() else _shown(default),
        )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if field.is_required() else None,
        annotation=Annotated[kind if field.is_required() else kind | None, info],
    )


def _shown(default: object) -> str:
    return f"{float(default):g}" if isinstance(default, Fraction) else f"{default}"


def _mark(field: FieldInfo, kind: type[Mark]) -> Mark | None:
    return next((one for one in field.metadata if isinstance(one, kind)), None)


def _kind(annotation: Any) -> Any:
    """Return the type that the command line reads for a field."""
    kind = value_type(annotation)
    if get_origin(kind) is tuple and get_args(kind)[-1] is Ellipsis:
        return list[_kind(get_args(kind)[0])]
    return kind if kind in (bool, int, float, Path) else str
