"""``mmdisco experiments miniature``: metrics of the embedded pair."""

import os
from pathlib import Path
from typing import Annotated

import typer

from mmdisco.cli.stopping import GO_ON, running


def miniature(
    clips: Annotated[int, typer.Option(help="Generated clips a row and seed.")] = 512,
    seeds: Annotated[int, typer.Option(help="Seeds of the sampling noise, from 0.")] = 3,
    row: Annotated[list[str] | None, typer.Option(help="Only this row; may be repeated.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("evaluation"),
    jobs: Annotated[int, typer.Option(help="Processes, one thread each.")] = os.cpu_count() or 1,
    weights: Annotated[
        Path | None, typer.Option(help="Another folder of weights than the packaged one.")
    ] = None,
) -> None:
    """Alignment, faithfulness and controls of the embedded pair: a table and JSON.

    Every row and seed is kept as it is done; the same command goes on where it was stopped.
    """
    # the libraries behind take seconds to import, which --help need not wait for
    from mmdisco.cli.progress import progress
    from mmdisco.experiments.miniature.grid import evaluate

    said = f"finished rows and seeds are kept in {out}: {GO_ON}"
    with running(said) as run, progress("weights") as shown:
        run.work_in(out)
        table = evaluate(
            out,
            weights,
            tuple(row or ()),
            clips=clips,
            seeds=seeds,
            jobs=jobs,
            watch=shown.update,
        )
    typer.echo(table)
