"""The ``mmdisco`` command: its sub-commands, and one line for every mistake."""

import sys
from typing import Annotated

import typer

from mmdisco.cli.lazy_group import LazyGroup
from mmdisco.errors import UserError

EXAMPLES = (
    'mmdisco generate "a red ball bouncing"',
    "mmdisco generate --video clip.mp4",
    "mmdisco prepare clips/ --preset embedded --out data",
    "mmdisco train --data data --fakes fakes --out mine",
    "mmdisco evaluate generated/ --reference real/",
)
app = typer.Typer(
    name="mmdisco",
    cls=LazyGroup,
    help="Make two frozen diffusion models, one of sound and one of video, play together.",
    # a blank line between them, or the help joins them
    epilog="\n\n".join(("Examples:", *EXAMPLES)),
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
    try:
        # without a word, what there is to say
        status = app(sys.argv[1:] or ["--help"], prog_name="mmdisco", standalone_mode=False)
    except (UserError, typer.TyperException) as error:
        lines = [" ".join(line.split()) for line in str(error).splitlines()]
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
