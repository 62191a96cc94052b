"""Networks of the benchmark: their sizes and their random weights."""

import pytest
import torch
from diffusers import UNet2DConditionModel, UNetMotionModel
from torch import nn

from mmdisco.adapters.mmdiffusion.network import JointNetwork
from mmdisco.adapters.videocrafter2.unet import new_unet
from mmdisco.discriminators.official.network import ReleasedDiscriminator
from mmdisco.experiments.benchmark.base_models import configuration, random_network
from mmdisco.experiments.benchmark.systems import (
    JointBenchmark,
    audioldm_animatediff,
    auffusion_videocrafter2,
)

CPU = torch.device("cpu")


def count(network):
    return sum(weight.numel() for weight in network.parameters())


@pytest.mark.parametrize(
    ("kind", "name", "weights"),
    [
        (UNet2DConditionModel, "audioldm_unet", 415_954_568),
        (UNetMotionModel, "animatediff_unet", 1_312_730_244),
        (UNet2DConditionModel, "auffusion_unet", 859_520_964),
    ],
)
def test_a_configuration_is_that_of_the_published_network(kind, name, weights):
    with torch.device("meta"):
        network = kind.from_config(dict(configuration(name)))
    assert count(network) == weights


def test_the_networks_of_this_package_are_of_published_size():
    with torch.device("meta"):
        assert count(new_unet(auffusion_videocrafter2().video[1])) == 1_413_284_420
        assert count(JointNetwork(JointBenchmark().network)) == 133_675_524


@pytest.mark.parametrize(
    ("pair", "weights"),
    [
        (audioldm_animatediff, 33_261_313),
        (auffusion_videocrafter2, 38_972_161),
        (JointBenchmark, 12_682_241),
    ],
)
def test_the_discriminators_are_of_published_size(pair, weights):
    with torch.device("meta"):
        assert count(ReleasedDiscriminator(pair().discriminator)) == weights


def make():
    return nn.Sequential(nn.Linear(256, 256), nn.GroupNorm(4, 256), nn.BatchNorm1d(256))


def test_random_weights_are_finite_frozen_and_keep_the_size_of_a_signal():
    network = random_network(make, CPU, torch.float32, 0)
    assert all(value.isfinite().all() for value in network.state_dict().values())
    assert not any(weight.requires_grad for weight in network.parameters())
    assert not network.training
    out = network[0](torch.randn(64, 256, generator=torch.Generator().manual_seed(0)))
    assert 0.8 < float(out.std()) < 1.2


def test_random_weights_are_settled_by_the_seed():
    first, same, other = (
        random_network(make, CPU, torch.float32, seed)[0].weight for seed in (0, 0, 1)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_random_weights_come_in_the_type_asked_for():
    network = random_network(make, CPU, torch.bfloat16, 0)
    assert {weight.dtype for weight in network.parameters()} == {torch.bfloat16}
