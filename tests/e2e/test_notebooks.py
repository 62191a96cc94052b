"""The notebooks: each runs from first cell to last in an empty folder, and holds no output."""

import ast
import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def cells(notebook, kind):
    found = json.loads(notebook.read_text())
    assert found["nbformat"] == 4
    return [one for one in found["cells"] if one["cell_type"] == kind]


def test_there_are_three():
    assert len(NOTEBOOKS) == 3


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda one: one.stem)
def test_a_notebook_runs_and_holds_no_output(notebook, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    names = {"__name__": "notebook"}
    for cell in cells(notebook, "code"):
        assert (cell["outputs"], cell["execution_count"]) == ([], None)
        tree = ast.parse("".join(cell["source"]), notebook.name)
        # as Jupyter does: the value of a last expression is shown
        last = tree.body.pop()
        if not isinstance(last, ast.Expr):
            tree.body.append(last)
        exec(compile(tree, notebook.name, "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), notebook.name, "eval"), names)
            if hasattr(value, "_repr_html_"):
                assert "<video" in value._repr_html_()


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda one: one.stem)
def test_its_links_hold(notebook):
    text = "".join("".join(one["source"]) for one in cells(notebook, "markdown"))
    links = re.findall(r"\]\(([^)#]+)", text)
    assert all((FOLDER / one).exists() for one in links if "://" not in one)
