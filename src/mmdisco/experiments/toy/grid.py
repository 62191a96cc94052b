"""Cells of the toy study on disk: results, and points for plots."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from typing_extensions import override

from mmdisco.experiments.grid import MeasuredCell
from mmdisco.experiments.toy.run import ToyCell, run_cell
from mmdisco.io.files import write_tensors

KEPT_POINTS = 10_000


@dataclass(frozen=True)
class KeptToyCell(MeasuredCell):
    """A cell in the folder of its study.

    Attributes:
        cell: The cell.
        folder: Folder of the study.
    """

    cell: ToyCell
    folder: Path

    @property
    @override
    def out(self) -> Path:
        return self.folder

    @property
    @override
    def label(self) -> str:
        cell = self.cell
        return f"{cell.problem} {cell.setting} {cell.loss} seed {cell.seed}"

    @property
    @override
    def settings(self) -> dict[str, Any]:
        return {**vars(self.cell), "recipe": self.cell.recipe.tree()}

    @property
    def points_file(self) -> Path:
        """File of the points of the first evaluation."""
        return self.file.with_suffix(".safetensors")

    @override
    def measure(self) -> list[dict[str, object]]:
        outcome = run_cell(self.cell, self.folder / "runs" / self.name)
        points = outcome.points[:KEPT_POINTS].to(torch.float32)
        write_tensors(self.points_file, {"points": points}, {"cell": self.name})
        return outcome.rows
