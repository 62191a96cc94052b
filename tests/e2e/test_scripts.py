"""Scripts of ``recipes`` and ``benchmarks`` start; what the film's recipe types is known."""

import runpy
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from test_documented_commands import parse

from mmdisco.training.config import read_config

ROOT = Path(__file__).parents[2]
FILM = ROOT / "recipes" / "film"
SCRIPTS = [
    path
    for folder in (*sorted((ROOT / "recipes").iterdir()), ROOT / "benchmarks")
    for path in sorted(folder.glob("*.py"))
    if '__name__ == "__main__"' in path.read_text()
]


@pytest.fixture
def beside(monkeypatch):
    """Import as a script does, from its own folder; what it imported there is forgotten."""
    before = set(sys.modules)
    yield lambda script: monkeypatch.syspath_prepend(script.parent)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(
            (str(ROOT / "recipes"), str(ROOT / "benchmarks"))
        ):
            del sys.modules[name]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_script_starts_and_says_what_it_takes(script, beside, monkeypatch, capsys):
    beside(script)
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    assert ended.value.code == 0
    assert "usage:" in capsys.readouterr().out


def test_the_films_recipe_types_known_commands_and_settings(beside):
    beside(FILM / "run.py")
    names = runpy.run_path(str(FILM / "run.py"))
    for name in ("PREPARE", "FAKES", "TRAIN", "ADDITIVE", "GENERATE", "ALONE"):
        parse(names[name].split())
    words = names["ADDITIVE"].split()
    changes = [value for option, value in pairwise(words) if option == "--set"]
    assert read_config(FILM / "training.yaml", {}).init_from == "preset"
    assert read_config(FILM / "training.yaml", {}, changes).init_from is None
