import pytest
import torch
from closeness import assert_close

from mmdisco.core.av import AV
from mmdisco.discriminators.convolutions import SpectrogramLatents, VideoLatents
from mmdisco.discriminators.correlation import CorrelationFusionConfig, LaggedDotProduct
from mmdisco.discriminators.fusion import FusionInputs
from mmdisco.discriminators.two_tower import AudioVideoConfig

CONFIG = CorrelationFusionConfig(
    d_model=16, num_layers=1, num_heads=2, num_products=2, product_dim=4
)


@pytest.fixture
def head():
    """Products of features as they are: no offset anywhere."""
    torch.manual_seed(0)
    made = LaggedDotProduct(
        CONFIG, FusionInputs(features=6, rates=AV(audio=10.0, video=10.0), condition=5)
    )
    for layer in (made.audio, made.video, made.audio_norm.modulation, made.video_norm.modulation):
        torch.nn.init.zeros_(layer.bias)
    return made


def test_the_sum_is_a_product_of_what_either_side_says(head, generator):
    given, condition = torch.randn(4, 3, 8, 6, generator=generator), torch.zeros(3, 5)
    straight = head(AV(given[0], given[1]), condition)
    # the norm takes no notice of scale, but of sign
    assert_close(head(AV(-given[0], given[1]), condition), -straight)
    assert_close(head(AV(-given[0], -given[1]), condition), straight)


def test_short_reach_sees_what_is_simultaneous_alone(head):
    torch.nn.init.constant_(head.log_reach, -4.0)
    seen = torch.zeros(1, 8, 6)
    seen[:, 3, 0] = 1.0
    heard = torch.zeros(8, 8, 6)
    heard[torch.arange(8), torch.arange(8), 0] = 1.0
    logit = head(AV(heard, seen.expand(8, -1, -1)), torch.zeros(8, 5))
    assert logit[3].abs() > 1e-4
    assert_close(logit[[0, 1, 2, 4, 5, 6, 7]], torch.zeros(7), rtol=1e-2, scale=logit[3].abs())


@pytest.mark.parametrize("rates", [AV(20.0, 10.0), AV(3.0, 8.0)])
def test_any_rates_and_lengths_have_finite_second_derivatives(rates, generator):
    torch.manual_seed(0)
    fusion = CONFIG.build(FusionInputs(features=6, rates=rates, condition=5))
    given = AV(
        torch.randn(2, 7, 6, generator=generator, requires_grad=True),
        torch.randn(2, 5, 6, generator=generator),
    )
    logit = fusion(given, torch.randn(2, 5, generator=generator))
    (slope,) = torch.autograd.grad(logit.sum(), given.audio, create_graph=True)
    (slope.square().sum() + logit.sum()).backward()
    for parameter in fusion.products.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


def test_configuration_survives_its_record():
    config = AudioVideoConfig(
        SpectrogramLatents(4, 20.0), VideoLatents(4, 10.0), width=16, fusion=CONFIG
    )
    assert AudioVideoConfig.from_record(config.to_record()) == config


def test_crosswise_is_every_sound_with_every_video_of_its_group(head, generator):
    given = AV(torch.randn(6, 4, 6, generator=generator), torch.randn(6, 5, 6, generator=generator))
    condition = torch.randn(2, 5, generator=generator).repeat_interleave(3, dim=0)
    products = head.pairwise_logits(given, condition, 3)
    assert products.shape == (2, 2, 3, 3)
    logits = products.sum(1)
    for group in range(2):
        for heard in range(3):
            for seen in range(3):
                pair = AV(given.audio[[3 * group + heard]], given.video[[3 * group + seen]])
                alone = head(pair, condition[[3 * group]])
                assert_close(logits[group, heard, seen][None], alone, scale=logits.abs().max())
