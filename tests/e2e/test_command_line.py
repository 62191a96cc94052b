"""What the command says of itself."""

import os
import subprocess
import sys

import pytest

from mmdisco.cli.app import COMMANDS, EXAMPLES, STUDIES, app


def mmdisco(*words, **environment):
    return subprocess.run(
        [sys.executable, "-m", "mmdisco", *words],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_a_word_it_prints_five_examples_then_its_commands():
    done = mmdisco(COLUMNS="120")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(EXAMPLES) == 5
    places = [
        done.stdout.index(words) for words in (*EXAMPLES, *(f"\n  {one} " for one in COMMANDS))
    ]
    assert places == sorted(places)  # the examples first


def test_h_is_help_for_every_command(capsys):
    commands = [*((name,) for name in COMMANDS), *(("experiments", name) for name in STUDIES)]
    assert len(commands) >= 12
    for words in [*commands, ("experiments",)]:
        assert app([*words, "-h"], prog_name="mmdisco", standalone_mode=False) == 0
        assert f"Usage: mmdisco {' '.join(words)}" in capsys.readouterr().out


def test_the_help_of_evaluate_names_every_metric(capsys):
    from mmdisco.evaluation.config import METRICS as DEFAULT_METRICS
    from mmdisco.evaluation.registry import METRICS

    app(["evaluate", "-h"], prog_name="mmdisco", standalone_mode=False)
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert all(name in said for name in METRICS)
    assert f"Usual: {', '.join(DEFAULT_METRICS[:-1])} and {DEFAULT_METRICS[-1]}." in said


@pytest.mark.parametrize(
    ("begun", "meant"), [("gen", "generate"), ("evaluate --ref", "--reference")]
)
def test_a_shell_completes_what_is_begun(begun, meant):
    words = f"mmdisco {begun}"
    done = mmdisco(
        _MMDISCO_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(words.count(" "))
    )
    assert meant in done.stdout.split()


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_complete_options_with_a_line_of_help_each(shell):
    begun = {"_MMDISCO_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    done = mmdisco(**begun, _TYPER_COMPLETE_ARGS="mmdisco generate --joint-e")
    (line,) = done.stdout.splitlines()
    assert "--joint-every" in line
    assert "cheaper, less exact." in line


def test_completion_does_not_wait_for_torch():
    begun = {"COMP_WORDS": "mmdisco generate --jo", "COMP_CWORD": "2"}
    script = (
        "import sys\nfrom mmdisco.cli import main\nsys.argv = ['mmdisco']\n"
        "try:\n    main()\nfinally:\n    print(sorted({'torch', 'av', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"_MMDISCO_COMPLETE": "complete_bash"} | begun,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split()[-1] == "[]"
    assert "--joint-every" in done.stdout


def test_a_mistake_is_one_line_and_status_2():
    done = mmdisco("generate", "--no-such-option")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
