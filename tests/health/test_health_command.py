"""``mmdisco health`` on a pair of random weights, and by prepared clips."""

import json
import sys

import pytest
import torch

from mmdisco.cli import main
from mmdisco.cli.health_order import Order, carry_out
from mmdisco.discriminator.audio_video import AudioVideoDiscriminator
from mmdisco.discriminator.folder import DiscriminatorFolder
from mmdisco.embedded.weights import Folder
from mmdisco.errors import UserError


def order(pair, out, **changes):
    given = {"discriminator": None, "data": None, "fakes": None, "weights": pair, "out": out}
    return Order(**{**given, "pairs": 16, "levels": 2, **changes})


def test_report_of_the_embedded_pair(tiny_pair, tmp_path):
    said = list(carry_out(order(tiny_pair, tmp_path)))
    record = json.loads((tmp_path / "health.json").read_text())
    assert record["pairs"]["fake"] == 16
    assert set(record["paths"]) == {"joint", "given video", "given audio"}
    assert 0 <= record["figures"]["joint: ranking against shuffled"] <= 1
    assert (tmp_path / "health.png").is_file()
    assert said[0] in (tmp_path / "health.md").read_text()


def test_a_second_discriminator_is_examined_on_what_is_there(tiny_pair, tmp_path):
    first = list(carry_out(order(tiny_pair, tmp_path)))
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "held-out").rglob("*.*")}
    config = Folder(tiny_pair).discriminator().config
    torch.manual_seed(5)
    other = tmp_path / "other"
    DiscriminatorFolder(AudioVideoDiscriminator(config), "embedded").save(other)
    assert list(carry_out(order(tiny_pair, tmp_path, discriminator=str(other)))) != first
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "held-out").rglob("*.*")} == times


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data", "somewhere"], "both --data and --fakes"),
        (["--data", "a", "--fakes", "b"], "name the discriminator"),
        (["nowhere"], "nowhere is no folder"),
        (["--pairs", "3"], "at least 16"),
        (["--levels", "1"], "at least 2"),
    ],
)
def test_bad_input_is_one_line(arguments, said, tiny_pair, tmp_path, monkeypatch, capfd):
    out = ["--weights", str(tiny_pair), "--out", str(tmp_path / "out")]
    if arguments[0].startswith("--data"):
        out = out[2:]
    monkeypatch.setattr(sys, "argv", ["mmdisco", "health", *arguments, *out])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    error = capfd.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out" / "health.json").exists()


def test_silent_discriminator_gains_nothing(tiny_pair, tmp_path):
    network = AudioVideoDiscriminator(Folder(tiny_pair).discriminator().config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    DiscriminatorFolder(network, "embedded").save(tmp_path / "silent")
    list(carry_out(order(tiny_pair, tmp_path, discriminator=str(tmp_path / "silent"))))
    figures = json.loads((tmp_path / "health.json").read_text())["figures"]
    assert figures["joint: nats audio"] == 0
    assert figures["joint: ranking against fake"] == 0.5


def test_no_such_weights(tmp_path):
    with pytest.raises(UserError, match="cannot read"):
        list(carry_out(order(tmp_path / "none", tmp_path / "out")))
