"""What ``mmdisco doctor`` finds, and that it says so."""

import json
import os
import sys
from importlib.metadata import version
from types import SimpleNamespace

import pytest

from mmdisco.cli import doctor, main
from mmdisco.generation.presets.miniature import MiniaturePreset


@pytest.fixture
def mmdisco(monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["mmdisco", "doctor", *words])
        with pytest.raises(SystemExit) as stopped:
            main()
        said = capsys.readouterr()
        return SimpleNamespace(status=stopped.value.code, out=said.out, err=said.err)

    return run


def test_it_names_versions_places_codecs_devices_presets_and_makes_a_clip(mmdisco):
    done = mmdisco()
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    heads = [line for line in lines if not line.startswith(" ")]
    assert heads == ["versions:", "disk:", "codecs:", "devices:", "presets:", "self-test:"]
    assert f"  torch: {version('torch')}" in lines
    assert any(line.startswith("  writing: libx264, aac") for line in lines)
    assert "  embedded: complete" in lines
    assert lines[-1].startswith("  generate: a clip of 2 steps, written and read, in ")
    assert len(lines) == len(set(lines))


def test_a_codec_that_lacks_and_a_disk_without_room_are_named(mmdisco, monkeypatch):
    monkeypatch.setattr(doctor, "ENCODERS", ("libx264", "no-such-codec"))
    monkeypatch.setattr(doctor, "LITTLE", 1e9)
    monkeypatch.setattr(doctor, "PROMPT", "?!")
    done = mmdisco("--json")
    found = {one["name"]: one for one in json.loads(done.out)}
    assert found["writing"]["value"] == "libx264"
    assert "no-such-codec lacking" in found["writing"]["fault"]
    assert "make room" in found["weights"]["fault"]
    assert "no word of '?!' is known" in found["generate"]["fault"]
    assert done.status == 2
    assert done.err.count("\n") == 1
    assert (
        "things are wrong: current folder, weights, temporary files, writing, generate" in done.err
    )


def test_weights_of_the_package_that_lack_are_its_fault_and_those_of_the_hub_are_none(
    mmdisco, monkeypatch
):
    monkeypatch.setattr(MiniaturePreset, "present", lambda self, options: (self.name != "game",))
    done = mmdisco("--json")
    found = {one["name"]: one for one in json.loads(done.out)}
    assert done.status == 2
    assert found["game"]["value"] == "lacks all"
    assert found["game"]["fault"] == "install mmdisco again"
    assert not found["embedded"]["fault"]
    assert found["stableaudio-wan21"]["value"] == "lacks audio, video"
    assert not found["stableaudio-wan21"]["fault"]


def test_no_path_names_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("MMDISCO_WEIGHTS", raising=False)
    monkeypatch.chdir(tmp_path)
    found = {one.name: one.value for one in doctor.examine_disks()}
    assert found["weights"].startswith(f"~{os.sep}.cache")
    assert found["current folder"].startswith("~")
