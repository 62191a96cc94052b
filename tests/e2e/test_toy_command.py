"""The toy study by its command line: small, stopped, repeated, and asked for the impossible."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from safetensors import safe_open

from mmdisco.cli import main

SMALL = ["toy", "--problem", "mixture", "--setting", "ind", "--loss", "both", "--seeds", "1"]
SHORT = ["--steps", "30", "--samples", "500", "--jobs", "1"]


def mmdisco(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "mmdisco", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
    )


def test_study_writes_numbers_table_and_pictures(tmp_path):
    done = mmdisco(*SMALL, *SHORT, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "results.json").read_text())
    assert {row["loss"] for row in record["rows"]} == {"bases", "exact", "both"}
    assert record["versions"]["torch"]
    guided = next(row for row in record["rows"] if row["loss"] == "both")
    assert 0 < guided["tv"] < 1
    assert guided["r2"] < 1
    assert "| mixture | both | 1 |" in (tmp_path / "table.md").read_text()
    for name in ("guidance.png", "losses.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
        assert str(tmp_path / name) in done.stdout


def test_repeated_study_computes_nothing_again(tmp_path):
    mmdisco(*SMALL, *SHORT, "--out", tmp_path)
    cells = sorted((tmp_path / "cells").iterdir())
    before = [path.stat().st_mtime_ns for path in cells]
    done = mmdisco(*SMALL, *SHORT, "--out", tmp_path)
    assert done.returncode == 0
    assert [path.stat().st_mtime_ns for path in cells] == before


TRAINING = """
import sys
from pathlib import Path
import torch
from mmdisco.core.av import AV
from mmdisco.discriminators.mlp import VectorConfig, VectorDiscriminator
from mmdisco.core.denoiser import Conditioning, IndependentDenoisers
from mmdisco.core.coupling import SameTimestep
from mmdisco.core.noise import linear
from mmdisco.experiments.toy.exact import BasePairs, MixtureDenoiser, RealPairs
from mmdisco.experiments.toy.problems import problem
from mmdisco.core.noise_levels import LossSecondMomentSampler, NoiseLevelSampler
from mmdisco.core.losses import MMDisCoLoss
from mmdisco.training.config import TrainerConfig
from mmdisco.training.trainer import Trainer

torch.set_num_threads(1)
torch.manual_seed(0)
goal, own = problem("mixture", "ind"), linear()
base = IndependentDenoisers(goal.bases.map(lambda law: MixtureDenoiser(law, own)))
config = TrainerConfig(steps=400, batch_size=8, checkpoint_every=20, log_every=7)
levels = NoiseLevelSampler(SameTimestep(AV(own, own)), LossSecondMomentSampler(), 0.2, 0.2)
none = Conditioning.none(1)
trainer = Trainer(base, levels, MMDisCoLoss(), config, AV(none, none))
network = VectorDiscriminator(VectorConfig(width=8))
trainer.fit(network, RealPairs(goal), BasePairs(goal), Path(sys.argv[1]))
"""


def test_training_killed_three_times_ends_with_the_same_files(tmp_path):
    command = [sys.executable, "-c", TRAINING]
    subprocess.run([*command, str(tmp_path / "whole")], check=True)
    parts = tmp_path / "parts"
    checkpoint = parts / "checkpoint.safetensors"
    for step in (40, 200, 320):
        running = subprocess.Popen([*command, str(parts)])
        wait_for(lambda s=step: checkpoint.exists() and checkpointed(checkpoint) >= s, running)
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
    subprocess.run([*command, str(parts)], check=True)
    for name in ("checkpoint.safetensors", "log.jsonl"):
        assert (tmp_path / "whole" / name).read_bytes() == (parts / name).read_bytes()


def wait_for(reached, running):
    deadline = time.monotonic() + 120
    while not reached():
        assert time.monotonic() < deadline
        assert running.poll() is None, "the run ended before it could be killed"
        time.sleep(0.001)


def checkpointed(path):
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["run"])["step"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--problem", "spiral"], "unknown problem 'spiral': choose one of gaussian"),
        (["--setting", "far"], "unknown setting 'far'"),
        (["--loss", "mse"], "unknown loss 'mse'"),
        (["--study", "all"], "unknown study 'all'"),
        (["--steps", "-5"], "steps -5: give at least 1"),
        (["--lambda", "-1"], "lambda -1.0: give a number above 0"),
        (["--width", "0"], "width 0: give a number of at least 1"),
        (["--seeds", "0"], "0 seeds"),
        (["--quick", "--seeds", "2"], "--seeds has no effect with --quick"),
        (["--loss", "disc", "--lambda", "3"], "--lambda has no effect"),
        (["--samples", "3"], "3 samples"),
        (["--jobs", "0"], "0 jobs"),
        (["--steps", "many"], "valid integer"),
        (["--unknown"], "No such option"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_status_two(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["mmdisco", "toy", *arguments, "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit, match="2"):
        main()
    stderr = capsys.readouterr().err
    assert stderr.count("\n") == 1
    assert said in stderr
    assert not (tmp_path / "out").exists()


def test_unwritable_folder_is_one_line_and_status_two(tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = mmdisco(*SMALL, *SHORT, "--out", tmp_path / "file" / "out")
    assert done.returncode == 2
    assert done.stderr.startswith("mmdisco: cannot write")
    assert done.stderr.count("\n") == 1


def test_version_and_help_are_there():
    assert mmdisco("--version").stdout.strip()
    assert "toy" in mmdisco("--help").stdout
