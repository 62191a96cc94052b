"""The command line: one file a command; arguments and files only."""

from mmdisco.cli.app import main

__all__ = ["main"]
