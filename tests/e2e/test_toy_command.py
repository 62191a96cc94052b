"""The toy study by its command line: small, stopped, repeated, and asked for the impossible."""

import json
import multiprocessing
import subprocess
import sys
import time

import pytest
import torch
from killing import run_forked
from safetensors import safe_open

from mmdisco.cli import main
from mmdisco.core.av import AV
from mmdisco.core.coupling import SameTimestep
from mmdisco.core.denoiser import Conditioning, IndependentDenoisers
from mmdisco.core.losses import MMDisCoLoss
from mmdisco.core.noise import linear
from mmdisco.core.noise_levels import LossSecondMomentSampler, NoiseLevelSampler
from mmdisco.discriminators.mlp import VectorConfig, VectorDiscriminator
from mmdisco.experiments.toy.problems import BasePairs, MixtureDenoiser, RealPairs, problem
from mmdisco.training.config import TrainerConfig
from mmdisco.training.trainer import Trainer

SMALL = ["experiments", "toy", "--problem", "mixture", "--setting", "ind", "--loss", "both"]
SHORT = ["--seeds", "1", "--steps", "30", "--samples", "500", "--jobs", "1"]


def mmdisco(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "mmdisco", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    out = tmp_path_factory.mktemp("study")
    return out, mmdisco(*SMALL, *SHORT, "--out", out)


def test_study_writes_numbers_table_and_pictures(study):
    out, done = study
    assert done.returncode == 0, done.stderr
    record = json.loads((out / "results.json").read_text())
    assert {row["loss"] for row in record["rows"]} == {"unguided", "exact", "both"}
    assert record["versions"]["torch"]
    guided = next(row for row in record["rows"] if row["loss"] == "both")
    assert 0 < guided["tv"] < 1
    assert guided["r2"] < 1
    assert "| mixture | both | 1 |" in (out / "table.md").read_text()
    for name in ("guidance.png", "losses.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
        assert str(out / name) in done.stdout


def ended(monkeypatch, *arguments):
    """The status of the command in this process."""
    monkeypatch.setattr(sys, "argv", ["mmdisco", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code


def test_repeated_study_computes_nothing_again(study, monkeypatch):
    out, _ = study
    cells = sorted((out / "cells").iterdir())
    before = [path.stat().st_mtime_ns for path in cells]
    assert ended(monkeypatch, *SMALL, *SHORT, "--out", out) in (None, 0)
    assert [path.stat().st_mtime_ns for path in cells] == before


def train(folder):
    torch.manual_seed(0)
    goal, own = problem("mixture", "ind"), linear()
    base = IndependentDenoisers(goal.bases.map(lambda law: MixtureDenoiser(law, own)))
    config = TrainerConfig(steps=30, batch_size=8, checkpoint_every=3, log_every=4)
    levels = NoiseLevelSampler(SameTimestep(AV(own, own)), LossSecondMomentSampler(), 0.2, 0.2)
    none = Conditioning.none(1)
    trainer = Trainer(base, levels, MMDisCoLoss(), config, AV(none, none))
    network = VectorDiscriminator(VectorConfig(width=8))
    trainer.fit(network, RealPairs(goal), BasePairs(goal), folder)


@pytest.mark.usefixtures("one_thread")  # forks
def test_training_killed_three_times_ends_with_the_same_files(tmp_path):
    run_forked(lambda: train(tmp_path / "whole"))
    parts = tmp_path / "parts"
    checkpoint = parts / "checkpoint.safetensors"
    for step in (6, 15, 24):
        running = multiprocessing.get_context("fork").Process(target=train, args=(parts,))
        running.start()
        wait_for(lambda s=step: checkpoint.exists() and checkpointed(checkpoint) >= s, running)
        running.kill()
        running.join()
    run_forked(lambda: train(parts))
    for name in ("checkpoint.safetensors", "log.jsonl"):
        assert (tmp_path / "whole" / name).read_bytes() == (parts / name).read_bytes()


def wait_for(reached, running):
    deadline = time.monotonic() + 120
    while not reached():
        assert time.monotonic() < deadline
        assert running.is_alive(), "the run ended before it could be killed"
        time.sleep(0.01)


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
        (["--steps", "-5"], "training.steps -5: give more than 0"),
        (["--lambda", "-1"], "denoising -1.0: give more than 0"),
        (["--width", "0"], "width 0: give more than 0"),
        (["--seeds", "0"], "seeds 0: give at least 1"),
        (["--quick", "--seeds", "2"], "--seeds has no effect with --quick"),
        (["--loss", "disc", "--lambda", "3"], "--lambda has no effect"),
        (["--samples", "3"], "samples 3: give at least 100"),
        (["--jobs", "0"], "jobs 0: give at least 1"),
        (["--steps", "many"], "valid integer"),
        (["--unknown"], "No such option"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_status_two(arguments, said, tmp_path, monkeypatch, capsys):
    assert ended(monkeypatch, "experiments", "toy", *arguments, "--out", tmp_path / "out") == 2
    stderr = capsys.readouterr().err
    assert stderr.count("\n") == 1
    assert said in stderr
    assert not (tmp_path / "out").exists()


def test_unwritable_folder_is_one_line_and_status_two(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("in the way")
    assert ended(monkeypatch, *SMALL, *SHORT, "--out", tmp_path / "file" / "out") == 2
    stderr = capsys.readouterr().err
    assert stderr.startswith("mmdisco: cannot write")
    assert stderr.count("\n") == 1


def test_version_and_help_are_there():
    assert mmdisco("--version").stdout.strip()
    assert "toy" in mmdisco("experiments", "--help").stdout
