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
            if stop.signal is None or isinstance(error, SystemExit):
                raise
            say_stopped("nothing was begun: give the same command again")
            sys.exit(stop.status)
