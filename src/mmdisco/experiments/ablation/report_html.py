"""Report of a study as one self-contained HTML page."""

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any, Final

from mmdisco.experiments.ablation.results import Results
from mmdisco.io.files import plain

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8885; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1180px; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.wide { overflow-x: auto; } img { max-width: 100%; background: #fff; border-radius: 4px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid var(--line);
  vertical-align: top; white-space: nowrap; }
td.text { white-space: normal; }
"""


def page(results: Results, picture: Path) -> str:
    """Render the page, with the plot embedded."""
    image = base64.b64encode(picture.read_bytes()).decode()
    spread = "mean ± standard deviation over the seeds" if results.seeds > 1 else "one seed"
    title = escape(results.study.title)
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width, initial-scale=1'>",
        f"<title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>",
        f"<img alt='{title}: the figures of the table' src='data:image/png;base64,{image}'>",
        "<p>Dashed: the bases alone.</p>",
        f"<h2>Figures</h2><p>{spread}.</p>",
        _table(["", *results.columns.values()], results.rows()),
    ]
    if results.verdicts:
        parts += ["<h2>Claims</h2>", _table(("claim", "what was found"), results.verdicts)]
    parts += ["<h2>Arms</h2>", _table(("arm", "what it changes"), _changes(results))]
    conditions = [(name, str(value)) for name, value in results.conditions.items()]
    parts += ["<h2>Conditions</h2>", _table(("what", "which"), conditions)]
    return "\n".join(parts) + "\n"


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


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(one)}" for one in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(one)}" for one in cells) for cells in rows)
    return f"<div class=wide><table><thead><tr>{head}<tbody>{body}</table></div>"
