"""Commands of ``mmdisco``, each imported when it is called for."""

import inspect
import pkgutil
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

import typer.main
from typer.core import DEFAULT_MARKUP_MODE, TyperCommand, TyperGroup
from typer.models import CommandInfo

from mmdisco.cli.options import CONFIGURED

_HERE: Final = __name__.rpartition(".")[0]

COMMANDS: Final = {
    "generate": f"{_HERE}.generate:generate",
    "presets": f"{_HERE}.presets:presets",
    "prepare": f"{_HERE}.prepare:prepare",
    "sample-fakes": f"{_HERE}.fakes:sample_fakes",
    "train": f"{_HERE}.train:train",
    "diagnose": f"{_HERE}.diagnose:diagnose",
    "inspect": f"{_HERE}.inspect:inspect",
    "evaluate": f"{_HERE}.evaluate:evaluate",
    "evaluate-embedded": f"{_HERE}.evaluate_embedded:evaluate_embedded",
    "ablate": f"{_HERE}.ablate:ablate",
    "toy": f"{_HERE}.toy:toy",
    "bench": f"{_HERE}.bench:bench",
}
"""Module and function of every command, in the order of the help."""


class LazyGroup(TyperGroup):
    """Group of the commands in ``COMMANDS``.

    A listing reads their docstrings; options are built for the command that is called.
    """

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: TyperCommand(name) for name in COMMANDS}

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command without its options, for listings."""
        if cmd_name not in COMMANDS:
            return None
        function = pkgutil.resolve_name(COMMANDS[cmd_name])
        return TyperCommand(cmd_name, help=inspect.getdoc(function))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that is called, with its options, and its arguments."""
        name, command, rest = super().resolve_command(ctx, args)
        if name is None:
            return name, command, rest
        return name, _build(name, pkgutil.resolve_name(COMMANDS[name])), rest


def _build(name: str, function: Callable[..., Any]) -> Any:
    if hasattr(function, CONFIGURED):
        from mmdisco.cli.config_options import with_options

        config, fields = getattr(function, CONFIGURED)
        found = getattr(import_module("mmdisco.generation.config"), config)
        function = with_options(function, found, fields)
    return typer.main.get_command_from_info(
        CommandInfo(name=name, callback=function),
        pretty_exceptions_short=False,
        rich_markup_mode=DEFAULT_MARKUP_MODE,
    )
