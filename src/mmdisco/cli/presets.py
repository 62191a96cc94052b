"""``mmdisco presets``: every pair that can be named."""

from pathlib import Path
from typing import Annotated

import typer


def presets(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
    weights: Annotated[
        Path | None,
        typer.Option(help="Folder of weights; MMDISCO_WEIGHTS or ~/.cache/mmdisco otherwise."),
    ] = None,
) -> None:
    """The pairs that can generate: parts, sizes, licences, settings, and whether files are here."""
    # the libraries behind take seconds to import, which --help need not wait for
    from mmdisco.cli.presets_table import show_json, show_table

    (show_json if as_json else show_table)(weights)
