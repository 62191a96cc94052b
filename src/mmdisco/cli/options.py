"""Marks of commands whose options are settings of a configuration, and the option ``--threads``."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, TypeVar

import typer

Function = TypeVar("Function", bound=Callable[..., Any])

CONFIGURED: Final = "__configured__"


def options_of(
    config: str, *, without: tuple[str, ...] = (), only: Mapping[str, str] = MappingProxyType({})
) -> Callable[[Function], Function]:
    """Mark a command whose keyword arguments are fields of a configuration.

    They become options when the command is called: the configuration takes a moment to import.

    Args:
        config: Module and name of the configuration.
        without: Names of fields that have no effect on the command.
        only: Dotted key by name of the option, where not every field is one.
    """

    def mark(function: Function) -> Function:
        setattr(function, CONFIGURED, (config, without, only))
        return function

    return mark


Threads = Annotated[
    int | None,
    typer.Option(
        help="CPU threads of the arithmetic; torch's choice, a thread for each core, if left out. "
        "1 where several runs share a machine."
    ),
]
