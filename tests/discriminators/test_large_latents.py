"""Discriminators of large latents: what their gradient costs, and what saving memory changes."""

import dataclasses
import json
from pathlib import Path

import bills
import pytest
import torch
from closeness import assert_close
from test_audio_video_discriminator import TINY, captions, gradient, latents, levels, network

from mmdisco import UserError
from mmdisco.core.av import AV
from mmdisco.core.noise import NoiseLevel
from mmdisco.discriminators.towers import Frugality
from mmdisco.discriminators.two_tower import AudioVideoConfig, AudioVideoDiscriminator
from mmdisco.generation.cost import gradient_cost
from mmdisco.training.config import DiscriminatorConfig
from mmdisco.training.discriminator_config import build_discriminator_config

BILLS = Path(__file__).parents[2] / "docs" / "bills.json"
PAIRS = json.loads(BILLS.read_text(encoding="utf-8"))["pairs"]
_LEVEL = NoiseLevel(*torch.full((3, 1), 0.7).unbind())


def with_frugality(**wishes):
    return dataclasses.replace(TINY, frugality=Frugality(**wishes))


def same_weights(config):
    made = network(TINY)
    other = AudioVideoDiscriminator(config)
    other.load_state_dict(made.state_dict())
    return made, other


def cost(pair, **wishes):
    """Operations and bytes of a logit and its gradient for a pair of docs/bills.json."""
    shapes, texts, rates = (
        AV(pair[name]["audio"], pair[name]["video"]) for name in ("latents", "captions", "rates")
    )
    network = bills.discriminator(shapes.map(torch.Size), texts, rates, **wishes)
    z_t = shapes.map(lambda shape: torch.empty(1, *shape, device="meta"))
    level = AV(_LEVEL, _LEVEL)
    return gradient_cost(network, z_t, level, texts.map(lambda n: torch.zeros(1, n)))


@pytest.mark.parametrize("name", bills.PAIRS)
def test_logit_and_gradient_cost_little_beside_the_bases(name):
    """Beside the operations of the bases that ``benchmarks/bills.py`` has counted."""
    pair = PAIRS[name]
    operations, peak = cost(pair)
    share = operations / pair["operations_a_step"]
    assert share < 0.03
    # a sound may be a latent step shorter in the run than the next whole one
    assert share == pytest.approx(pair["discriminator_share_of_a_step"], rel=0.01)
    assert peak < 1e9


def test_the_committed_bills_are_what_the_command_counts():
    name = "Wan 2.2 5B with Stable Audio 3"
    found, pair = bills.bill(name, steps=2, output_type="latent"), PAIRS[name]
    assert found.step == pytest.approx(pair["operations_a_step"])
    assert found.share == pytest.approx(pair["discriminator_share_of_a_step"])
    assert list(found.shapes.video) == pair["latents"]["video"]
    assert found.texts == AV(**pair["captions"])
    assert found.rates == AV(**pair["rates"])
    assert found.row()[0] in BILLS.with_suffix(".md").read_text(encoding="utf-8")


def test_bfloat16_and_checkpointing_save_memory_each():
    pair = PAIRS["Wan 2.1 1.3B with Stable Audio 1"]
    plain = cost(pair, bfloat16=False, gradient_checkpointing=False)
    half = cost(pair, bfloat16=True, gradient_checkpointing=False)
    again = cost(pair, bfloat16=False, gradient_checkpointing=True)
    both = cost(pair)  # as the size of the latents decides
    assert half[0] == plain[0] < again[0] == both[0]
    assert both[1] < half[1] < 0.6 * plain[1]
    assert both[1] < again[1] < 0.6 * plain[1]


def test_small_latents_keep_all_and_compute_in_float32():
    shapes = AV(torch.Size((8, 50, 16)), torch.Size((4, 16, 32, 32)))
    made = build_discriminator_config(
        DiscriminatorConfig(), shapes, AV(512, 768), shapes.map(lambda one: one[1] / 2)
    )
    assert made.frugality == Frugality()


def test_checkpointing_changes_neither_gradient_nor_its_derivative(generator):
    plain, checkpointed = same_weights(with_frugality(gradient_checkpointing=True))
    inputs = latents(TINY, generator), levels(), captions(TINY, generator)
    found = []
    for made in (plain, checkpointed):
        first = gradient(made, *inputs, create_graph=True)
        penalty = first.audio.square().sum() + first.video.square().sum()
        weights = [one for one in made.parameters() if one.requires_grad]
        second = torch.autograd.grad(penalty, weights, allow_unused=True)
        found.append((first, second))
    (first, second), (other, again) = found
    assert torch.equal(first.audio, other.audio)
    assert torch.equal(first.video, other.video)
    assert any(one is not None and one.any() for one in second)
    for one, two in zip(second, again, strict=True):
        assert (one is None) == (two is None)
        if one is not None:
            assert_close(one, two)


def test_bfloat16_keeps_float32_weights_and_logits(generator):
    plain, half = same_weights(with_frugality(bfloat16=True))
    inputs = latents(TINY, generator), levels(), captions(TINY, generator)
    assert {one.dtype for one in half.parameters()} == {torch.float32}
    logit = half(*inputs)
    assert logit.dtype == torch.float32
    assert not torch.equal(logit, plain(*inputs))
    whole, rounded = gradient(plain, *inputs), gradient(half, *inputs)
    for one, other in ((whole.audio, rounded.audio), (whole.video, rounded.video)):
        assert other.dtype == torch.float32
        assert 0 < float((one - other).norm() / one.norm()) < 0.1  # eight bits, through ten layers


def test_a_record_holds_both_and_one_without_them_is_plain():
    config = with_frugality(bfloat16=True, gradient_checkpointing=True)
    record = config.to_record()
    assert AudioVideoConfig.from_record(record) == config
    del record["frugality"]
    assert AudioVideoConfig.from_record(record) == TINY


def test_a_record_with_another_value_is_refused():
    record = {**TINY.to_record(), "frugality": {"bfloat16": 3}}
    with pytest.raises(UserError, match="no configuration of a discriminator"):
        AudioVideoConfig.from_record(record)
