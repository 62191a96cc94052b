"""The ``mmdisco`` command: its sub-commands, and one line for every mistake."""

import inspect
import os
import pkgutil
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import typer.main
from typer.core import DEFAULT_MARKUP_MODE, TyperCommand, TyperGroup
from typer.models import CommandInfo
from typing_extensions import override

from mmdisco.cli.options import CONFIGURED
from mmdisco.errors import UserError

EXAMPLES = (
    'mmdisco generate "a red ball bouncing"',
    "mmdisco generate --video clip.mp4",
    "mmdisco prepare clips/ --preset embedded --out data",
    "mmdisco train --data data --fakes fakes --out mine",
    "mmdisco evaluate generated/ --reference real/",
)
_HERE: Final = __name__.rpartition(".")[0]

COMMANDS: Final = {
    "generate": f"{_HERE}.generate:generate",
    "presets": f"{_HERE}.presets:presets",
    "bases": f"{_HERE}.bases:bases",
    "prepare": f"{_HERE}.prepare:prepare",
    "sample-fakes": f"{_HERE}.fakes:sample_fakes",
    "train": f"{_HERE}.train:train",
    "diagnose": f"{_HERE}.diagnose:diagnose",
    "inspect": f"{_HERE}.inspect:inspect",
    "evaluate": f"{_HERE}.evaluate:evaluate",
    "app": f"{_HERE}.page:app",
    "doctor": f"{_HERE}.doctor:doctor",
}
"""Module and function of every command, in the order of the help."""

STUDIES: Final = {
    "toy": f"{_HERE}.toy:toy",
    "miniature": f"{_HERE}.miniature:miniature",
    "ablate": f"{_HERE}.ablate:ablate",
    "bench": f"{_HERE}.bench:bench",
}
"""Module and function of every command of ``mmdisco experiments``."""

GROUPS: Final = {"experiments": (STUDIES, "Studies of the method, with tables and plots.")}
"""Commands of every group within ``mmdisco``, and its help."""


class LazyGroup(TyperGroup):
    """Group of commands; a listing reads their docstrings, a call builds its command's options.

    A listing is plain text: those who only look for a command need not wait for rich.

    Args:
        functions: Module and function of every command; those of ``mmdisco`` by default, which has
            groups as well.
        **attributes: Attributes of the group.
    """

    def __init__(self, functions: Mapping[str, str] | None = None, **attributes: Any) -> None:
        super().__init__(**attributes)
        self._functions = functions or COMMANDS
        self._groups = {} if functions else GROUPS
        self.commands = {name: TyperCommand(name) for name in (*self._functions, *self._groups)}

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command without its options, for listings; or a group."""
        if cmd_name in self._groups:
            functions, text = self._groups[cmd_name]
            return LazyGroup(functions, name=cmd_name, help=text, no_args_is_help=False)
        if cmd_name not in self._functions:
            return None
        function = pkgutil.resolve_name(self._functions[cmd_name])
        return TyperCommand(cmd_name, help=inspect.getdoc(function))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that is called, with its options, and its arguments."""
        name, command, rest = super().resolve_command(ctx, args)
        if name is None or name not in self._functions:
            return name, command, rest
        return name, _build(name, pkgutil.resolve_name(self._functions[name])), rest

    @override
    def format_help(self, ctx: Any, formatter: Any) -> None:
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        if self._functions is COMMANDS:
            with formatter.section("Examples"):
                formatter.write("".join(f"  {example}\n" for example in EXAMPLES))
        commands = [(name, self.get_command(ctx, name)) for name in self.commands]
        for title, rows in (
            ("Commands", [(name, one.help.partition("\n\n")[0]) for name, one in commands]),
            ("Options", [one.get_help_record(ctx) for one in self.get_params(ctx)]),
        ):
            with formatter.section(title):
                formatter.write_dl([row for row in rows if row is not None])


def _build(name: str, function: Callable[..., Any]) -> Any:
    if hasattr(function, CONFIGURED):
        from mmdisco.cli.config_options import with_options

        config, without, only = getattr(function, CONFIGURED)
        function = with_options(function, pkgutil.resolve_name(config), without, only)
    return typer.main.get_command_from_info(
        CommandInfo(name=name, callback=function),
        pretty_exceptions_short=False,
        rich_markup_mode=DEFAULT_MARKUP_MODE,
    )


app = typer.Typer(
    name="mmdisco",
    cls=LazyGroup,
    help="Make two frozen diffusion models, one of sound and one of video, play together.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def root(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Make two frozen diffusion models, one of sound and one of video, play together."""
    if show_version:
        from importlib.metadata import version

        typer.echo(version("mmdisco"))
        raise typer.Exit


def main() -> None:
    """Run the command line; a user's mistake ends in one line and exit status 2.

    Only where several things are to be done, such as files to fetch, each has a line of its own.
    """
    # a thread that waits sleeps: those that spin take the cores from the threads that work
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # none of pydantic's plugins is ours, and looking for them reads every installed package
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        if "_MMDISCO_COMPLETE" in os.environ:
            os.environ["COLUMNS"] = "10000"  # a shell takes every line for a word to choose
        words = sys.argv[1:]
        # without a command, the list of them
        words += ["--help"] if words in ([], ["experiments"]) else []
        status = app(words, prog_name="mmdisco", standalone_mode=False)
    except (UserError, typer.TyperException) as error:
        text = error.format_message() if isinstance(error, typer.TyperException) else str(error)
        lines = [" ".join(line.split()) for line in text.splitlines()]
        sys.stderr.write("mmdisco: " + "\n".join(lines) + "\n")
        sys.exit(2)
    except OSError as error:  # a name too long, a folder that may not be entered, a full disk
        named = f"{str(error.filename)[:300]}: " if error.filename else ""
        sys.stderr.write(f"mmdisco: {named}{error.strerror or error}\n")
        sys.exit(2)
    except MemoryError:
        sys.stderr.write("mmdisco: not enough memory: ask for less at once, or smaller\n")
        sys.exit(2)
    sys.exit(status if isinstance(status, int) else 0)
