"""What ``mmdisco experiments toy`` does with its arguments."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdisco.cli.progress import progress
from mmdisco.errors import UserError
from mmdisco.experiments.grid import run
from mmdisco.experiments.toy.report import draw_guidance, draw_losses, table, with_gap, write_report
from mmdisco.experiments.toy.run import KeptToyCell, ToyCell, ToyRecipe
from mmdisco.experiments.toy.studies import StudySelection, quick, study
from mmdisco.io.files import write_text

QUICK_PROBLEMS = ("8gaussians", "moons")
SEEDS = 3


@dataclass(frozen=True)
class ToyArgs:
    """The arguments, as given; ``options`` replace settings of the recipe, by dotted key."""

    study: str
    problems: tuple[str, ...]
    settings: tuple[str, ...]
    losses: tuple[str, ...]
    seeds: int | None
    options: dict[str, Any]
    quick: bool

    def change(self, recipe: ToyRecipe) -> ToyRecipe:
        """The study's recipe with the options in it."""
        return (quick(recipe) if self.quick else recipe).updated(self.options)

    @property
    def folder(self) -> Path:
        """Where its results go unless another place is given."""
        return Path("runs") / "toy" / (f"{self.study}-quick" if self.quick else self.study)

    def selection(self) -> StudySelection:
        """The cells asked for; the quick form has a narrower default.

        Raises:
            UserError: An option has no effect on them.
        """
        if not self.quick:
            seeds = SEEDS if self.seeds is None else self.seeds
            return StudySelection(self.problems, self.settings, self.losses, seeds)
        if self.seeds is not None:
            raise UserError("--seeds has no effect with --quick, which has one: leave one out")
        planes = QUICK_PROBLEMS if self.study == "losses" else ()
        return StudySelection(
            self.problems or planes, self.settings or ("ind",), self.losses, seeds=1
        )


def execute(order: ToyArgs, folder: Path, jobs: int, threads: int = 1) -> Iterator[str]:
    """Run the study and write its report.

    Yields:
        What to print: the table, then the path of everything written.
    """
    for count, name in ((jobs, "jobs"), (threads, "threads")):
        if count < 1:
            raise UserError(f"{count} {name}: ask for at least 1")
    chosen = study(order.study)
    cells = chosen.cells(order.selection(), order.change)
    if "denoising" in order.options and not any(cell.loss == "both" for cell in cells):
        raise UserError("--lambda has no effect without the loss both: leave it out")
    write_text(folder / ".gitignore", "cells/\nruns/\n")
    begin = time.monotonic()
    rows = _run(cells, folder, jobs, threads)
    recipe = order.change(chosen.recipe)
    write_report(folder, chosen.title, recipe, rows, seconds=time.monotonic() - begin)
    pictures = (draw_guidance(folder, cells), draw_losses(folder, cells))
    yield table(with_gap(rows))
    for path in (folder / "results.json", folder / "table.md", *pictures):
        if path is not None:
            yield str(path)


def _run(cells: list[ToyCell], folder: Path, jobs: int, threads: int) -> list[dict[str, Any]]:
    kept = [KeptToyCell(folder, cell) for cell in cells]
    with progress("toy study") as shown:
        for cell, done, total in run(kept, jobs, threads):
            shown.update("toy study", done, total, cell.label)
    return [row for cell in kept for row in cell.results()]
