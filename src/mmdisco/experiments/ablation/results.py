"""Results of a study, written to ``table.csv``, ``results.json`` and ``table.md``."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from mmdisco.experiments.ablation.grid import cells_of
from mmdisco.experiments.ablation.setting import ExperimentSetting
from mmdisco.experiments.ablation.study import AblationStudy, Arm
from mmdisco.io.files import plain, write_json, write_text
from mmdisco.io.reports import MeanStd, markdown_table, versions

PACKAGES: Final = ("mmdisco", "torch", "diffusers", "numpy", "scipy")


@dataclass(frozen=True)
class Results:
    """Results of a study.

    Attributes:
        name: Name of the study.
        study: The study.
        arms: Arms as they were run.
        cells: Results of every arm, one entry per seed.
        columns: Metrics to show, with their headings; all are kept.
        conditions: Everything else that the results depend on.
    """

    name: str
    study: AblationStudy
    arms: Sequence[Arm]
    cells: Mapping[str, Sequence[Mapping[str, float]]]
    columns: Mapping[str, str]
    conditions: Mapping[str, Any]

    @staticmethod
    def read(
        name: str, study: AblationStudy, place: ExperimentSetting, arms: Sequence[Arm], seeds: int
    ) -> "Results":
        """Collect the results of finished cells."""
        found: dict[str, list[Mapping[str, float]]] = {}
        for cell in cells_of(place, arms, seeds):
            found.setdefault(cell.arm.name, []).append(cell.results())
        measured = dict.fromkeys(key for own in found.values() for one in own for key in one)
        columns = place.columns(list(measured))
        conditions = {
            "seeds": list(range(seeds)),
            "clips of each arm and seed": place.clips,
            "held-out pairs": place.pairs,
            **versions(*PACKAGES),
        }
        return Results(name, study, arms, found, columns, conditions)

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return len(self.conditions["seeds"])

    @property
    def figures(self) -> dict[str, dict[str, MeanStd]]:
        """Mean and standard deviation over the seeds, by arm and metric."""
        return {
            arm: {
                key: MeanStd.of([one[key] for one in own])
                for key in own[0]
                if all(key in one for one in own)
            }
            for arm, own in self.cells.items()
        }

    @property
    def verdicts(self) -> list[tuple[str, str]]:
        """Evaluate every claim."""
        return [(one.text, one.verdict(self.cells)) for one in self.study.claims]

    def rows(self) -> list[list[str]]:
        """Format a row per arm, under the headings of ``columns``."""
        return [
            [arm, *(str(figures.get(key, "")) for key in self.columns)]
            for arm, figures in self.figures.items()
        ]

    def markdown(self) -> str:
        """Format the table, the claims, and the conditions."""
        head = ["", *self.columns.values()]
        claims = [f"- {text}: **{verdict}**" for text, verdict in self.verdicts]
        note = ", ".join(f"{key} {value}" for key, value in self.conditions.items())
        spread = f"Mean ± standard deviation over {self.seeds} seeds." if self.seeds > 1 else ""
        below = [*claims, *([""] if claims else []), f"{spread} {note}".strip()]
        return "\n".join([markdown_table(head, self.rows()), "", *below])

    def write(self, folder: Path) -> None:
        """Write all three files."""
        write_text(folder / "table.csv", self._csv())
        write_text(folder / "table.md", f"# {self.study.title}\n\n{self.markdown()}\n")
        write_json(folder / "results.json", plain(self._record()))

    def _record(self) -> dict[str, Any]:
        return {
            "study": self.name,
            "title": self.study.title,
            "conditions": dict(self.conditions),
            "claims": [{"claim": text, "verdict": verdict} for text, verdict in self.verdicts],
            "arms": [
                {
                    "name": arm.name,
                    "x": arm.x,
                    "series": arm.series,
                    "way": asdict(arm.way),
                    "recipe": None if arm.training is None else arm.training.deciding(),
                    "figures": {key: asdict(one) for key, one in self.figures[arm.name].items()},
                    "seeds": [dict(one) for one in self.cells[arm.name]],
                }
                for arm in self.arms
            ],
        }

    def _csv(self) -> str:
        keys = list(dict.fromkeys(k for own in self.cells.values() for one in own for k in one))
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["arm", "seed", "x", *keys])
        places = {arm.name: arm.x for arm in self.arms}
        for arm, own in self.cells.items():
            for seed, one in enumerate(own):
                x = "" if places[arm] is None else places[arm]
                writer.writerow([arm, seed, x, *(one.get(key, "") for key in keys)])
        return text.getvalue()
