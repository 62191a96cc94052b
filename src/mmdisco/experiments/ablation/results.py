"""Results of a study: ``table.csv``, ``results.json``, ``table.md``, a plot and an HTML page."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmdisco.evaluation.metrics.result import UNGUIDED
from mmdisco.experiments.ablation.grid import cells_of
from mmdisco.experiments.ablation.study import AblationStudy, ExperimentSetting, Variant
from mmdisco.io.files import plain, replacing, write_json, write_text
from mmdisco.io.reports import MeanStd, data_uri, markdown_table, render, versions

PACKAGES: Final = ("mmdisco", "torch", "diffusers", "numpy", "scipy")


@dataclass(frozen=True)
class Results:
    """Results of a study.

    Attributes:
        name: Name of the study.
        study: The study.
        variants: Variants as they were run.
        cells: Results of every variant, one entry per seed.
        columns: Metrics to show, with their headings; all are kept.
        conditions: Everything else that the results depend on.
    """

    name: str
    study: AblationStudy
    variants: Sequence[Variant]
    cells: Mapping[str, Sequence[Mapping[str, float]]]
    columns: Mapping[str, str]
    conditions: Mapping[str, Any]

    @staticmethod
    def read(
        name: str,
        study: AblationStudy,
        setting: ExperimentSetting,
        variants: Sequence[Variant],
        seeds: int,
    ) -> "Results":
        """Collect the results of finished cells."""
        found: dict[str, list[Mapping[str, float]]] = {}
        for cell in cells_of(setting, variants, seeds):
            found.setdefault(cell.variant.name, []).append(cell.results())
        measured = dict.fromkeys(key for own in found.values() for one in own for key in one)
        columns = setting.columns(list(measured))
        conditions = {
            "seeds": list(range(seeds)),
            "clips of each variant and seed": setting.clips,
            "held-out pairs": setting.pairs,
            **versions(*PACKAGES),
        }
        return Results(name, study, variants, found, columns, conditions)

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return len(self.conditions["seeds"])

    @property
    def figures(self) -> dict[str, dict[str, MeanStd]]:
        """Mean and standard deviation over the seeds, by variant and metric."""
        return {
            variant: {
                key: MeanStd.of([one[key] for one in own])
                for key in own[0]
                if all(key in one for one in own)
            }
            for variant, own in self.cells.items()
        }

    @property
    def claims(self) -> list[tuple[str, str]]:
        """Every claim with the decision on it."""
        return [(one.text, one.test(self.cells)) for one in self.study.claims]

    def rows(self) -> list[list[str]]:
        """Format a row per variant, under the headings of ``columns``."""
        return [
            [variant, *(str(figures.get(key, "")) for key in self.columns)]
            for variant, figures in self.figures.items()
        ]

    def markdown(self) -> str:
        """Format the table, the claims, and the conditions."""
        head = ["", *self.columns.values()]
        claims = [f"- {text}: **{decision}**" for text, decision in self.claims]
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
            "claims": [{"claim": text, "decision": decision} for text, decision in self.claims],
            "variants": [
                {
                    "name": variant.name,
                    "x": variant.x,
                    "series": variant.series,
                    **_settings(variant),
                    "metrics": {
                        key: asdict(one) for key, one in self.figures[variant.name].items()
                    },
                    "seeds": [dict(one) for one in self.cells[variant.name]],
                }
                for variant in self.variants
            ],
        }

    def _csv(self) -> str:
        keys = list(dict.fromkeys(k for own in self.cells.values() for one in own for k in one))
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["variant", "seed", "x", *keys])
        places = {variant.name: variant.x for variant in self.variants}
        for variant, own in self.cells.items():
            for seed, one in enumerate(own):
                x = "" if places[variant] is None else places[variant]
                writer.writerow([variant, seed, x, *(one.get(key, "") for key in keys)])
        return text.getvalue()


PANELS: Final = 12
ACROSS: Final = 4


def draw(path: Path, results: Results) -> None:
    """Write a PNG.

    Raises:
        UserError: The file cannot be written.
    """
    shown = list(results.columns.items())[:PANELS]
    rows = ceil(len(shown) / ACROSS)
    height = 3.2 if results.study.axis else 1 + 0.3 * len(results.variants)
    figure = Figure(figsize=(4.2 * min(ACROSS, len(shown)), height * rows), layout="constrained")
    axes = figure.subplots(rows, min(ACROSS, len(shown)), squeeze=False).flatten()
    for place, (own, (key, heading)) in enumerate(zip(axes, shown, strict=False)):
        spreads = {variant: one[key] for variant, one in results.figures.items() if key in one}
        if results.study.axis:
            _curves(own, results.variants, spreads, results.study.axis)
        else:
            _points(own, list(results.figures), spreads, labelled=place % ACROSS == 0)
        if UNGUIDED in spreads:
            line = own.axhline if results.study.axis else own.axvline
            line(spreads[UNGUIDED].mean, color="grey", linewidth=0.9, linestyle="--")
        own.set_title(heading, fontsize=10)
    for own in axes[len(shown) :]:
        own.set_axis_off()
    with replacing(path) as beside:
        figure.savefig(beside, dpi=100, metadata={"Software": None})


def _curves(
    axes: Axes, variants: Sequence[Variant], spreads: dict[str, MeanStd], label: str
) -> None:
    series = dict.fromkeys(variant.series for variant in variants if variant.x is not None)
    for name in series:
        own = [variant for variant in variants if variant.series == name and variant.x is not None]
        points = sorted(
            (variant.x or 0.0, spreads[variant.name]) for variant in own if variant.name in spreads
        )
        axes.errorbar(
            [x for x, _ in points],
            [one.mean for _, one in points],
            [one.deviation for _, one in points],
            fmt=".-",
            capsize=3,
            label=name,
        )
    axes.set_xlabel(label)
    if len(series) > 1:
        axes.legend(fontsize=7)


def _points(
    axes: Axes, names: Sequence[str], spreads: dict[str, MeanStd], *, labelled: bool
) -> None:
    """Plot one line per variant, the same in all panels, whichever variants have the metric."""
    there = [(place, spreads[name]) for place, name in enumerate(names) if name in spreads]
    axes.errorbar(
        [one.mean for _, one in there],
        [place for place, _ in there],
        xerr=[one.deviation for _, one in there],
        fmt="o",
        capsize=3,
    )
    axes.set_yticks(range(len(names)), names if labelled else [""] * len(names))
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="x", linewidth=0.3)


def page(results: Results, picture: Path) -> str:
    """Render the page, with the plot embedded."""
    return render(
        "ablation.html",
        title=results.study.title,
        image=data_uri(picture),
        spread="mean ± standard deviation over the seeds" if results.seeds > 1 else "one seed",
        header=["", *results.columns.values()],
        rows=results.rows(),
        claims=results.claims,
        changes=_changes(results),
        conditions=results.conditions.items(),
    )


def _changes(results: Results) -> list[tuple[str, str]]:
    """List the settings of each variant that not all variants share."""
    trees = {variant.name: _flat(plain(_settings(variant))) for variant in results.variants}
    keys = dict.fromkeys(key for tree in trees.values() for key in tree)
    differing = [
        key for key in keys if len({tree[key] for tree in trees.values() if key in tree}) > 1
    ]
    return [
        (name, ", ".join(f"{key} {tree[key]}" for key in differing if key in tree))
        for name, tree in trees.items()
    ]


def _settings(variant: Variant) -> dict[str, Any]:
    training = None if variant.training is None else variant.training.deciding()
    return {"sampling": asdict(variant.sampling), "training": training}


def _flat(tree: Any, prefix: str = "") -> dict[str, str]:
    if not isinstance(tree, dict):
        return {prefix.removesuffix("."): json.dumps(tree)}
    found: dict[str, str] = {}
    for key, value in tree.items():
        found |= _flat(value, f"{prefix}{key}.")
    return found
