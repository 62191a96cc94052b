"""``benchmarks/gpu.py`` runs through on the CPU, and says so where there is no GPU."""

import json
import sys

import gpu
import pytest
import torch


def test_its_dry_run_measures_every_part(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "REPEATS", 1)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--dry-run", "--out", str(tmp_path / "gpu.json")])
    gpu.main()
    record = json.loads((tmp_path / "gpu.json").read_text())
    assert record["dry_run"]
    near = record["embedded pair, relative difference to the CPU"]
    assert set(near["float32"].values()) == {0.0}  # the CPU itself
    assert all(0 < one < 0.2 for one in near["bfloat16"].values())
    step = record["a step at 480x832, 33 frames"]
    assert {"video", "audio", "video, offloaded"} < step.keys()
    assert step["discriminator, bfloat16"]["share_of_bases"] > 0
    assert record["training"]["steps_a_second"] > 0
    assert capsys.readouterr().out.rstrip().endswith(" s")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_what_to_do(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    with pytest.raises(SystemExit, match="--dry-run"):
        gpu.main()
