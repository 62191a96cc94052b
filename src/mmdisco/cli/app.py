"""The ``mmdisco`` command: its sub-commands, and one line for every mistake."""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from mmdisco.cli.ablate import ablate
from mmdisco.cli.bench import bench
from mmdisco.cli.evaluate import evaluate
from mmdisco.cli.evaluate_embedded import evaluate_embedded
from mmdisco.cli.fakes import fakes
from mmdisco.cli.generate import generate
from mmdisco.cli.health import health
from mmdisco.cli.inspect import inspect
from mmdisco.cli.prepare import prepare
from mmdisco.cli.presets import presets
from mmdisco.cli.toy import toy
from mmdisco.cli.train import train
from mmdisco.errors import UserError

app = typer.Typer(
    name="mmdisco",
    help="Make two frozen diffusion models, one of sound and one of video, play together.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(generate)
app.command()(presets)
app.command()(prepare)
app.command()(fakes)
app.command()(train)
app.command()(health)
app.command()(inspect)
app.command()(evaluate)
app.command()(evaluate_embedded)
app.command()(ablate)
app.command()(toy)
app.command()(bench)


@app.callback(invoke_without_command=True)
def root(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Make two frozen diffusion models, one of sound and one of video, play together."""
    if show_version:
        typer.echo(version("mmdisco"))
        raise typer.Exit


def main() -> None:
    """Run the command line; a user's mistake ends in one line and exit status 2."""
    try:
        status = app(standalone_mode=False)
    except (UserError, typer.TyperException) as error:
        sys.stderr.write(f"mmdisco: {' '.join(str(error).split())}\n")
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("mmdisco: stopped; give the same command again to go on\n")
        sys.exit(130)
    sys.exit(status if isinstance(status, int) else 0)
