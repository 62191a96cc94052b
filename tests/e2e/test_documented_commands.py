"""What README and the pages of ``docs`` tell one to type.

A fenced block of ``sh`` or ``python`` is run, in an empty folder. One that is preceded by
``<!-- not run: why -->`` is not, and still every sub-command and option in it must be known, every
script and target be there, and every import succeed. What is run is run at a reduced size: the
packaged pair gives way to a tiny one of random weights, and generation takes two steps.
"""

import ast
import re
import shlex
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer.main

from mmdisco.cli.app import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<why>\S[^\n]*) -->\n\n?)?^```(?P<kind>sh|python)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
OTHER_PROGRAMS = {"tar", "unzip"}


@dataclass(frozen=True)
class Block:
    page: Path
    number: int
    kind: str
    text: str
    why: str | None

    def __str__(self):
        return f"{self.page.relative_to(ROOT)}-{self.number}"

    @property
    def commands(self):
        """The words of each line, comments left out."""
        split = [shlex.split(line, comments=True) for line in self.text.splitlines()]
        return [[word for word in words if word != "&"] for words in split if words]


BLOCKS = [
    Block(page, number, found["kind"], found["text"], found["why"])
    for page in PAGES
    for number, found in enumerate(BLOCK.finditer(page.read_text()), start=1)
]
SHELL = [block for block in BLOCKS if block.kind == "sh"]
PYTHON = [block for block in BLOCKS if block.kind == "python"]


def parse(arguments):
    """Every sub-command and option is known, and every value is of its kind."""
    expect_command("mmdisco", typer.main.get_group(app), list(arguments))


def expect_command(name, command, rest, parent=None):
    with command.make_context(name, rest, parent=parent) as context:
        own = [*context._protected_args, *context.args]
        if own and hasattr(command, "commands"):
            inner, chosen, further = command.resolve_command(context, own)
            expect_command(inner, chosen, further, context)


def expect_known(words):
    if "mmdisco" in words and (words[0] == "mmdisco" or words[words.index("mmdisco") - 1] == "-m"):
        parse(words[words.index("mmdisco") + 1 :])
    elif words[0] == "python":
        source = (ROOT / words[1]).read_text()
        for option in (word for word in words[2:] if word.startswith("--")):
            assert f'"{option}"' in source, f"{words[1]} has no {option}"
    elif words[0] == "make":
        assert f"\n{words[1]}:" in (ROOT / "Makefile").read_text()
    elif words[:2] == ["pip", "install"]:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        extras = re.findall(r"\[(\w+)\]", " ".join(words))
        assert set(extras) <= set(project["optional-dependencies"])
        assert (ROOT / words[words.index("-c") + 1]).exists()
    else:
        assert words[0] in OTHER_PROGRAMS or words[:2] == ["pip", "download"], words


def reduced(words, pair):
    """The same command at a size that takes a second."""
    assert words[0] == "mmdisco", f"{words}: mark the block, or teach the test to run this"
    if words[1] == "generate" and "--from-metadata" not in words:
        # the game's pair comes with the package, and knows other words
        weights = [] if "game" in words else ["--weights", str(pair)]
        return [*words[1:], *weights, "--steps", "2"]
    return words[1:]


def test_blocks_are_found_and_some_are_run():
    assert len(BLOCKS) >= 25
    assert {block.kind for block in BLOCKS if block.why is None} == {"sh", "python"}


def test_no_block_of_another_name_hides_a_command():
    for page in PAGES:
        names = set(re.findall(r"^```(\w+)$", page.read_text(), re.MULTILINE))
        assert names <= {"sh", "python", "yaml", "csv", "json", "text"}, page


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_what_is_typed_is_known(block):
    for words in block.commands:
        expect_known(words)


@pytest.mark.parametrize(
    "words", [["generate", "--no-such"], ["no-such"], ["experiments", "toy", "--seeds", "x"]]
)
def test_what_is_not_known_is_found(words):
    with pytest.raises(typer.TyperException):
        parse(words)


@pytest.mark.parametrize("block", [one for one in SHELL if one.why is None], ids=str)
def test_a_block_of_commands_runs_from_an_empty_folder(block, tiny_pair, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in block.commands:
        assert app(reduced(words, tiny_pair), standalone_mode=False) in (None, 0)


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_is_python_and_its_imports_succeed(block):
    tree = ast.parse(block.text)
    imports = [one for one in tree.body if isinstance(one, ast.Import | ast.ImportFrom)]
    exec(compile(ast.Module(imports, []), str(block), "exec"), {})


@pytest.mark.parametrize("block", [one for one in PYTHON if one.why is None], ids=str)
def test_a_block_of_python_runs_from_an_empty_folder(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(block.text, str(block), "exec"), {"__name__": "documented"})
