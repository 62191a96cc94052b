"""Clips with distilled guidance: chosen, recorded, repeated, billed, refused."""

import shutil

import numpy as np
import pytest
import torch

from mmdisco.cli import main
from mmdisco.discriminators.distilled import (
    DistilledConfig,
    DistilledGuidance,
    DistilledNetwork,
)
from mmdisco.errors import UserError
from mmdisco.experiments.benchmark.measure import measure
from mmdisco.experiments.benchmark.systems import Embedded
from mmdisco.experiments.config import BenchmarkConfig
from mmdisco.generation.bill import bill_of
from mmdisco.generation.config import GenerateConfig
from mmdisco.generation.generate import generate
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.generation.presets.registry import system_of
from mmdisco.generation.resolve import resolve
from mmdisco.io.files import read_object

PROMPT = "a red ball bouncing"


def write_distilled(folder, *, out_std):
    """Put a network of random weights beside the discriminator of a pair."""
    system = MiniatureSystem(folder)
    torch.manual_seed(0)
    network = DistilledNetwork(
        DistilledConfig(system.discriminator().config, d_model=8, num_heads=2, patch_width=8)
    )
    for codec in (network.audio, network.video):
        torch.nn.init.normal_(codec.out.weight, std=out_std)
    DistilledGuidance(network, system.weight_hashes()["discriminator"]).save(folder)


@pytest.fixture(scope="module")
def pair(tiny_pair, tmp_path_factory):
    folder = tmp_path_factory.mktemp("distilled") / "pair"
    shutil.copytree(tiny_pair, folder)
    write_distilled(folder, out_std=0.3)
    return folder


def clip(folder, **options):
    (found,) = generate(PROMPT, weights=folder, steps=3, **options)
    return found


def test_a_clip_is_guided_by_the_network_alone(pair):
    exact, distilled, free = (
        clip(pair, **options)
        for options in ({}, {"guidance": "distilled"}, {"no_joint_guidance": True})
    )
    for other in (exact, free):
        assert not np.array_equal(distilled.video.frames, other.video.frames)
        assert not np.array_equal(distilled.audio.waveform, other.audio.waveform)
    again = clip(pair, guidance="distilled", candidates=2)  # ranked by the discriminator
    assert again.video.frames.shape == distilled.video.frames.shape
    longer = clip(pair, guidance="distilled", seconds=2.4)  # in overlapping windows
    assert longer.video.frames.shape[0] == 24


def test_a_network_that_says_zero_leaves_the_models_as_they_are(tiny_pair, tmp_path):
    folder = tmp_path / "pair"
    shutil.copytree(tiny_pair, folder)
    write_distilled(folder, out_std=0.0)
    silent, free = clip(folder, guidance="distilled"), clip(folder, no_joint_guidance=True)
    np.testing.assert_array_equal(silent.video.frames, free.video.frames)
    np.testing.assert_array_equal(silent.audio.waveform, free.audio.waveform)


def test_what_cannot_be_is_refused_in_one_line(tiny_pair, pair):
    with pytest.raises(UserError, match="holds no distilled network: make one with `mmdisco train"):
        clip(tiny_pair, guidance="distilled")
    with pytest.raises(UserError, match="are without use"):
        clip(pair, guidance="distilled", joint_scale=0)
    with pytest.raises(UserError, match="leave --guidance out"):
        GenerateConfig(
            prompt=PROMPT, preset="mmdiffusion-aist", as_released=True, guidance="gradient"
        )


def test_the_record_names_it_and_repeats_the_clip(pair, tmp_path, monkeypatch, capfd):
    def run(*arguments):
        words = ["mmdisco", "generate", *map(str, arguments), "--weights", str(pair)]
        monkeypatch.setattr("sys.argv", words)
        with pytest.raises(SystemExit) as stopped:
            main()
        assert stopped.value.code == 0, capfd.readouterr().err

    first, second = tmp_path / "first.mp4", tmp_path / "second.mp4"
    run(PROMPT, "--steps", 2, "--guidance", "distilled", "--out", first)
    record = read_object(first.with_suffix(".json"))
    assert record["guidance"] == "distilled"
    known = read_object(pair / "distilled.json")["sha256"]
    assert record["environment"]["weights"]["distilled"] == known
    run("--from-metadata", first.with_suffix(".json"), "--out", second)
    assert first.read_bytes() == second.read_bytes()


def test_the_bill_counts_the_network_in_place_of_the_discriminator(pair):
    def bill(**options):
        config = GenerateConfig(prompt=PROMPT, weights=pair, steps=3, **options)
        found = bill_of(resolve(config, system_of(config)))
        return {one.title: one for one in found.networks}

    exact, distilled = bill(), bill(guidance="distilled", candidates=2)
    own, other = exact["discriminator"], distilled["discriminator distilled"]
    assert own.passes == other.passes == 3
    assert 0 < other.operations / 2 < own.operations
    assert distilled["discriminator"].passes == 1  # which ranks both candidates


def test_the_benchmark_takes_it_in_place_of_the_discriminator(pair):
    exact, distilled = (
        list(measure(Embedded(pair), BenchmarkConfig(pair="embedded", repeats=1, guidance=one)))[-1]
        for one in ("gradient", "distilled")
    )
    assert 0 < distilled.ratios["flops"] < exact.ratios["flops"]
    assert distilled.weights["discriminator"] < exact.weights["discriminator"]
