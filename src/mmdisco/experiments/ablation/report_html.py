"""Report of a study as one self-contained HTML page."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmdisco.experiments.ablation.results import Results
from mmdisco.io.files import plain
from mmdisco.io.reports import data_uri, render


def page(results: Results, picture: Path) -> str:
    """Render the page, with the plot embedded."""
    return render(
        "ablation.html",
        title=results.study.title,
        image=data_uri(picture),
        spread="mean ± standard deviation over the seeds" if results.seeds > 1 else "one seed",
        header=["", *results.columns.values()],
        rows=results.rows(),
        verdicts=results.verdicts,
        changes=_changes(results),
        conditions=results.conditions.items(),
    )


def _changes(results: Results) -> list[tuple[str, str]]:
    """List the settings of each arm that not all arms share."""
    trees = {
        arm.name: _flat(
            {
                "way": plain(asdict(arm.way)),
                "recipe": None if arm.training is None else arm.training.deciding(),
            }
        )
        for arm in results.arms
    }
    keys = dict.fromkeys(key for tree in trees.values() for key in tree)
    differing = [
        key for key in keys if len({tree[key] for tree in trees.values() if key in tree}) > 1
    ]
    return [
        (name, ", ".join(f"{key} {tree[key]}" for key in differing if key in tree))
        for name, tree in trees.items()
    ]


def _flat(tree: Any, prefix: str = "") -> dict[str, str]:
    if not isinstance(tree, dict):
        return {prefix.removesuffix("."): json.dumps(tree)}
    found: dict[str, str] = {}
    for key, value in tree.items():
        found |= _flat(value, f"{prefix}{key}.")
    return found
