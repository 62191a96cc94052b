"""Marks of commands whose options are settings of a configuration, and the option ``--threads``."""

from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar

import typer
from typer.core import TyperCommand

Function = TypeVar("Function", bound=Callable[..., Any])

CONFIGURED: Final = "__configured__"
COMMAND_CLASS: Final = "__command_class__"


def options_of(config: str, *, without: tuple[str, ...] = ()) -> Callable[[Function], Function]:
    """Mark a command whose keyword arguments are fields of a configuration.

    They become options when the command is called: the configuration takes a moment to import.

    Args:
        config: Module and name of the configuration.
        without: Names of fields that have no effect on the command.
    """

    def mark(function: Function) -> Function:
        setattr(function, CONFIGURED, (config, without))
        return function

    return mark


def command_class(kind: type[TyperCommand]) -> Callable[[Function], Function]:
    """Mark a function whose command is of a class of its own."""

    def mark(function: Function) -> Function:
        setattr(function, COMMAND_CLASS, kind)
        return function

    return mark


Threads = Annotated[
    int | None,
    typer.Option(
        help="CPU threads of the arithmetic; torch's choice, a thread for each core, if left out. "
        "1 where several runs share a machine."
    ),
]
