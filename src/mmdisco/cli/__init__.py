"""The command line: one file a command; arguments and files only."""

import sys

from mmdisco.cli.stopping import catching, say_stopped

__all__ = ["main"]


def main() -> None:
    """Run the command line; Ctrl-C and SIGTERM end in one line and exit status 130 and 143."""
    with catching() as stop:
        try:
            # only now: importing the commands takes a moment, in which Ctrl-C may come too
            from mmdisco.cli.app import main as command_line

            command_line()
        except BaseException as error:
            # typer ends a command that was interrupted with a status and no word
            ended_well = isinstance(error, SystemExit) and not error.code
            if stop.signal is None or stop.said or ended_well:
                raise
            say_stopped("nothing was begun: give the same command again")
            sys.exit(stop.status)
