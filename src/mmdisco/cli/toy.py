"""``mmdisco experiments toy``: the toy study as one command."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from mmdisco.cli.options import options_of
from mmdisco.cli.stopping import GO_ON, running
from mmdisco.errors import UserError

if TYPE_CHECKING:
    from mmdisco.experiments.config import ToyConfig


@options_of("mmdisco.experiments.config:ToyConfig")
def toy(**options: Any) -> None:
    """Joint guidance on problems with a known answer: numbers, a table and two pictures.

    A stopped study goes on where it was when the same command is given again.
    """
    # imports that --help need not wait for
    from mmdisco.cli.config_options import given
    from mmdisco.experiments.config import ToyConfig

    config = ToyConfig(**given(options))
    folder = config.folder
    said = f"finished cells are kept in {folder}, others from their last checkpoint on: {GO_ON}"
    with running(said) as run:
        run.work_in(folder)
        for line in execute(config):
            typer.echo(line)


def execute(config: "ToyConfig") -> Iterator[str]:
    """Run the study and write its report.

    Yields:
        What to print: the table, then the path of everything written.

    Raises:
        UserError: There is no cell of a name, or an option has no effect on those chosen.
    """
    from mmdisco.cli.progress import progress
    from mmdisco.experiments.grid import run
    from mmdisco.experiments.toy import report
    from mmdisco.experiments.toy.run import CONTRASTIVE, KeptToyCell
    from mmdisco.experiments.toy.studies import study
    from mmdisco.io.files import write_text

    folder, chosen = config.folder, study(config.study)
    cells = chosen.cells(config)
    weighted = ("both", *CONTRASTIVE)
    if config.denoising is not None and not any(cell.loss in weighted for cell in cells):
        raise UserError("--lambda has no effect without the loss both: leave it out")
    write_text(folder / ".gitignore", "cells/\nruns/\n")
    begin = time.monotonic()
    kept = [KeptToyCell(folder, cell) for cell in cells]
    with progress("toy study") as shown:
        for cell, done, total in run(kept, config.jobs, config.threads):
            shown.update("toy study", done, total, cell.label)
    rows = [row for cell in kept for row in cell.results()]
    seconds = time.monotonic() - begin
    report.write_report(folder, chosen.title, chosen.recipe_of(config), rows, seconds)
    pictures = (report.draw_guidance(folder, cells), report.draw_losses(folder, cells))
    yield report.table(report.with_gap(rows))
    for path in (folder / "results.json", folder / "table.md", *pictures):
        if path is not None:
            yield str(path)
