"""Options that several commands share: which models, whose folders, how many threads."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer
from typer.core import TyperCommand

Function = TypeVar("Function", bound=Callable[..., Any])

MODELS: Final = "Models"
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


Weights = Annotated[
    Path | None,
    typer.Option(
        help="Folder of weights; MMDISCO_WEIGHTS or ~/.cache/mmdisco otherwise. For embedded, the "
        "folder of another pair.",
        rich_help_panel=MODELS,
    ),
]
VideoModel = Annotated[
    str | None,
    typer.Option(
        help="Video pipeline of the clips, where its folder lies elsewhere now.",
        rich_help_panel=MODELS,
    ),
]
AudioModel = Annotated[
    str | None,
    typer.Option(
        help="Audio pipeline of the clips, where its folder lies elsewhere now.",
        rich_help_panel=MODELS,
    ),
]
Data = Annotated[Path | None, typer.Option(help="Folder that `mmdisco prepare` made.")]
FakesOfData = Annotated[Path | None, typer.Option(help="Folder that `mmdisco sample-fakes` made.")]
Threads = Annotated[
    int | None,
    typer.Option(
        help="CPU threads of the arithmetic; torch's choice, a thread for each core, if left out. "
        "1 where several runs share a machine."
    ),
]
