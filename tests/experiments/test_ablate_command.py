"""``mmdisco experiments ablate`` on the embedded pair of random weights, at the smallest size."""

import itertools
import json
import multiprocessing
import os
import shutil
import signal
import sys

import pytest
import torch

from mmdisco.cli import main
from mmdisco.cli.ablate import execute, setting_of
from mmdisco.experiments import grid
from mmdisco.experiments.ablation.grid import AblationCell, TrainedNetwork, cells_of, run
from mmdisco.experiments.ablation.studies import STUDIES
from mmdisco.experiments.ablation.study import AblationStudy, Variant
from mmdisco.experiments.config import AblateConfig
from mmdisco.experiments.miniature.evaluation import Bench
from mmdisco.io.files import read_tensors
from mmdisco.training.trainer import TrainerState

pytestmark = pytest.mark.usefixtures("one_thread")  # forks


def two_variants(baseline):
    shuffled = baseline.training.updated({"negatives.shuffled_fraction": 1.0})
    return [
        Variant("baseline", baseline.sampling, baseline.training),
        Variant("shuffled", baseline.sampling, shuffled),
    ]


@pytest.fixture(scope="module", autouse=True)
def _short_study():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(STUDIES, "short", AblationStudy("Short", two_variants))
        yield


@pytest.fixture(scope="module")
def order(tiny_pair, tmp_path_factory):
    out = tmp_path_factory.mktemp("ablations")
    return AblateConfig(study="short", out=out, weights=tiny_pair, quick=True, jobs=1)


@pytest.fixture(scope="module")
def said(order):
    return list(execute(order))


def times(folder, pattern):
    return {path: path.stat().st_mtime_ns for path in folder.rglob(pattern)}


def test_a_study_trains_measures_and_reports(order, said):
    folder = order.out / "short"
    assert {path.name for path in folder.iterdir()} == {
        "table.csv",
        "results.json",
        "table.md",
        "plot.png",
        "index.html",
    }
    record = json.loads((folder / "results.json").read_text())
    variants = {variant["name"]: variant["metrics"] for variant in record["variants"]}
    assert list(variants) == ["unguided baseline", "baseline", "shuffled"]
    assert "joint: ranking against shuffled" in variants["baseline"]
    assert "joint: ranking against shuffled" not in variants["unguided baseline"]
    # fakes of another kind give other weights
    guided = [variants[name] for name in variants if name != "unguided baseline"]
    nats = {figures["joint: nats audio"]["mean"] for figures in guided}
    assert len(nats) == 2
    assert said[0] in (folder / "table.md").read_text()


def test_the_same_command_makes_nothing_again(order, said):
    before = times(order.out, "*.safetensors") | times(order.out / "cells", "*")
    assert list(execute(order)) == said
    assert times(order.out, "*.safetensors") | times(order.out / "cells", "*") == before


def test_what_comes_before_a_training_is_shared(order, said):
    # both variants differ in their fakes alone
    assert len(list((order.out / "trainings").iterdir())) == 2
    assert len(list((order.out / "pretrained").iterdir())) == 1


def test_another_study_shares_what_is_the_same(order, said):
    setting = setting_of(order)
    baseline = setting.baseline()
    variant = Variant("a name of its own", baseline.sampling, baseline.training)
    (cell,) = cells_of(setting, [variant], 1)
    assert cell.training is not None
    assert cell.training.done


def test_a_stopped_training_goes_on_and_gives_the_same(order, said, monkeypatch, tmp_path):
    setting = setting_of(order)
    baseline = setting.baseline()
    config = baseline.training
    (whole,) = [one for one in [TrainedNetwork(setting, config, 0)] if one.done]
    wanted = read_tensors(whole.folder / "model.safetensors")
    copy = tmp_path / "again"

    class Stop(Exception):
        pass

    log_step, count = TrainerState.log_step, []

    def stopping(self, step):
        count.append(step)
        if len(count) == 6:
            raise Stop
        log_step(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(TrainerState, "log_step", stopping)
        with pytest.raises(Stop):
            setting.train(config, 0, copy)
    assert not (copy / "config.json").exists()
    setting.train(config, 0, copy)
    found = read_tensors(copy / "model.safetensors")
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


DEATHS = [
    (TrainerState, "log_step", 10),  # in a training, two steps after its checkpoint
    (Bench, "read", 1),  # in a cell, its clips made and not measured
    (AblationCell, "carry_out", 2),  # between cells
]


def run_to_death(order, owner, name, call):
    """In a process of its own, which kills itself at the ``call``-th call; its exit code."""

    def work():
        whole, count = getattr(owner, name), itertools.count(1)

        def deadly(*arguments, **named):
            if next(count) == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return whole(*arguments, **named)

        setattr(owner, name, deadly)
        list(execute(order))

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    return process.exitcode


def test_killed_anywhere_it_goes_on_and_finds_the_same(order, said, tmp_path):
    again = order.updated({"out": tmp_path / "killed"})
    for folder in ("data", "held-out", "real"):  # their own resuming is tested elsewhere
        shutil.copytree(order.out / folder, again.out / folder)
    assert [run_to_death(again, *death) for death in DEATHS] == [-signal.SIGKILL] * len(DEATHS)
    list(execute(again))

    def found(out):
        variants = json.loads((out / "short" / "results.json").read_text())["variants"]
        return {
            variant["name"]: {
                key: one for key, one in variant["metrics"].items() if "CPU" not in key
            }
            for variant in variants
        }

    assert found(again.out) == found(order.out)
    assert len(found(order.out)) == 3


def test_a_lost_cell_alone_is_made_again(order, said):
    cells = sorted((order.out / "cells").iterdir())
    kept, lost = cells[1:], cells[0]
    record = lost.read_text()
    lost.unlink()
    before = [path.stat().st_mtime_ns for path in kept]
    list(execute(order))
    assert [path.stat().st_mtime_ns for path in kept] == before
    again, first = (json.loads(one)["results"] for one in (lost.read_text(), record))
    costs = "CPU seconds a clip"
    assert {**again, costs: 0} == {**first, costs: 0}


def test_cells_depend_on_all_that_decides_them(order):
    setting, other = setting_of(order), setting_of(order)
    variant = Variant("one", setting.baseline().sampling)
    assert (
        AblationCell(setting.root, setting, variant, 0).file
        == AblationCell(other.root, other, variant, 0).file
    )
    assert (
        AblationCell(setting.root, setting, variant, 0).file
        != AblationCell(setting.root, setting, variant, 1).file
    )
    assert (
        AblationCell(setting.root, setting, variant, 0).file
        != AblationCell(setting.root, setting, Variant("one", variant.sampling.unguided), 0).file
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "unknown study 'nonsense'"),
        (["loss", "--seeds", "0"], "seeds 0: give at least 1"),
        (["loss", "--data", "somewhere"], "both --data and --fakes"),
        (["loss", "--clips", "4"], "at least 16"),
        (["loss", "--pair-stores", "nowhere"], "no store of real pairs"),
        (["loss", "--quick", "--steps", "0"], "training.steps 0: give more than 0"),
        (["samplers", "--quick", "--contrastive-steps", "3"], "none of these variants is trained"),
        (["samplers", "--quick", "--pair-stores", "nowhere"], "none of these variants is trained"),
        (["levels", "--quick", "--discriminator", "nowhere"], "these variants train their own"),
        (["loss", "--quick", "--seeds", "2"], "--seeds has no effect with --quick"),
        (
            ["fusion", "--variant", "attention", "--contrastive-steps", "3"],
            "none of these variants has",
        ),
        (["contrast", "--contrastive", "3"], "this study varies it itself"),
        (["fusion", "--variant", "pooled", "--contrastive", "3"], "none of these variants has"),
        (["scales", "--contrastive", "3"], "none of these variants is trained"),
        (["loss", "--contrastive", "-1"], "loss.contrastive -1"),
        (["scales", "--discriminator", "nowhere"], "nowhere is no folder"),
        (["scales", "--data", "a", "--fakes", "b", "--pair-stores", "c"], "leave it out"),
    ],
)
def test_bad_input_is_one_line(arguments, said, tiny_pair, tmp_path, monkeypatch, capfd):
    out = tmp_path / "out"
    rest = ["--weights", str(tiny_pair), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["mmdisco", "experiments", "ablate", *arguments, *rest])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    error = capfd.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert not out.exists()


def test_trainings_come_before_cells(order, monkeypatch):
    setting = setting_of(order.updated({"out": order.out / "other"}))
    done = []
    monkeypatch.setattr(grid, "_carry_out", done.append)
    variants = [
        Variant("a", setting.baseline().sampling, setting.baseline().training),
        Variant("b", setting.baseline().sampling.unguided),
    ]
    steps = list(run(setting, variants, 2, 1))
    assert [type(job) for job in done] == [TrainedNetwork] * 2 + [AblationCell] * 4
    assert steps == [
        ("trainings", 1, 2),
        ("trainings", 2, 2),
        *(("cells", index, 4) for index in range(1, 5)),
    ]
