"""``mmdisco diagnose`` on a pair of random weights."""

import json
import sys

import pytest
import torch

from mmdisco.cli import main
from mmdisco.cli.diagnose import execute
from mmdisco.discriminators.hub import PretrainedDiscriminator
from mmdisco.discriminators.two_tower import AudioVideoDiscriminator
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.training.diagnostics.config import DiagnoseConfig


def order(pair, out, discriminator=None):
    return DiagnoseConfig(discriminator=discriminator, weights=pair, out=out, pairs=16, levels=2)


@pytest.fixture(scope="module")
def reported(tiny_pair, tmp_path_factory):
    out = tmp_path_factory.mktemp("diagnostics")
    return out, list(execute(order(tiny_pair, out)))


def test_report_of_the_embedded_pair(reported):
    out, said = reported
    record = json.loads((out / "diagnostics.json").read_text())
    assert record["pairs"]["fake"] == 16
    assert set(record["couplings"]) == {"joint", "given video", "given audio"}
    assert record["summary"]["joint: nats audio"] != 0
    assert (out / "diagnostics.png").read_bytes().startswith(b"\x89PNG")
    assert said[0] in (out / "diagnostics.md").read_text()


def test_a_silent_discriminator_gains_nothing_on_what_is_kept(reported, tiny_pair, tmp_path):
    out, _ = reported
    times = {path: path.stat().st_mtime_ns for path in (out / "held-out").rglob("*.*")}
    network = AudioVideoDiscriminator(MiniatureSystem(tiny_pair).discriminator().config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    PretrainedDiscriminator(network, "embedded").save(tmp_path / "silent")
    list(execute(order(tiny_pair, out, str(tmp_path / "silent"))))
    figures = json.loads((out / "diagnostics.json").read_text())["summary"]
    assert figures["joint: nats audio"] == 0
    assert figures["joint: ranking against fake"] == 0.5
    # latents, fakes and what the bases say of them are not made again
    assert {p: p.stat().st_mtime_ns for p in (out / "held-out").rglob("*.*")} == times


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data", "a"], "both --data and --fakes"),
        (["--data", "a", "--fakes", "b"], "name the discriminator"),
        (["nowhere", "--pairs", "16"], "nowhere is no folder"),
        (["--pairs", "3"], "at least 16"),
    ],
)
def test_bad_input_is_one_line(arguments, said, tiny_pair, tmp_path, monkeypatch, capfd):
    rest = ["--weights", str(tiny_pair), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["mmdisco", "diagnose", *arguments, *rest])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    error = capfd.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out" / "diagnostics.json").exists()
