import pytest
import torch
from closeness import assert_close

from mmdisco.core.av import AV
from mmdisco.core.noise import NoiseLevel, scaled_linear
from mmdisco.discriminators.embeddings import Rotary, level_features, times_of
from mmdisco.discriminators.fusion import (
    AdditiveFusionConfig,
    FusionAttention,
    FusionInputs,
    PooledFusionConfig,
    TimeFusionConfig,
)

SOURCES = FusionInputs(features=6, rates=AV(audio=10.0, video=4.0), condition=5)
TIME = TimeFusionConfig(d_model=16, num_layers=2, num_heads=2)


def features(generator, batch=2, steps=20, frames=8):
    return AV(
        torch.randn(batch, steps, 6, generator=generator),
        torch.randn(batch, frames, 6, generator=generator),
    )


def built(config, sources=SOURCES):
    torch.manual_seed(0)
    return config.build(sources)


def test_moving_both_by_the_same_time_leaves_attention_unchanged(generator):
    torch.manual_seed(0)
    attention = FusionAttention(16, 2).double()
    tokens = torch.randn(2, 9, 16, generator=generator, dtype=torch.float64)
    seconds = torch.rand(9, generator=generator, dtype=torch.float64) * 20
    assert_close(attention(tokens, Rotary(seconds, 8)), attention(tokens, Rotary(seconds + 3.7, 8)))


def test_the_order_of_audio_steps_counts_with_the_fusion_in_time(generator):
    fusion, given, condition = built(TIME), features(generator), torch.zeros(2, 5)
    turned = AV(given.audio.flip(1), given.video)
    change = (fusion(turned, condition) - fusion(given, condition)).abs()
    assert change.min() > 1e-5


def test_the_order_of_audio_steps_does_not_count_with_the_additive_head(generator):
    fusion, given = built(AdditiveFusionConfig()), features(generator)
    turned = AV(given.audio.flip(1), given.video)
    assert_close(fusion(turned, torch.zeros(2, 5)), fusion(given, torch.zeros(2, 5)))


def test_the_additive_head_is_a_sum_of_two_functions(generator):
    fusion, condition = built(AdditiveFusionConfig()), torch.zeros(2, 5)
    first, second = features(generator), features(generator)
    straight = fusion(first, condition) + fusion(second, condition)
    crossed = fusion(AV(first.audio, second.video), condition) + fusion(
        AV(second.audio, first.video), condition
    )
    assert_close(straight, crossed)


def test_the_rate_places_the_frames_in_time(generator):
    given, condition = features(generator), torch.zeros(2, 5)
    slow = FusionInputs(features=6, rates=AV(audio=10.0, video=2.0), condition=5)
    change = built(TIME)(given, condition) - built(TIME, slow)(given, condition)
    assert change.abs().min() > 1e-6


def test_the_condition_changes_the_logit_of_the_fusion_in_time(generator):
    fusion, given = built(TIME), features(generator)
    change = fusion(given, torch.ones(2, 5)) - fusion(given, torch.zeros(2, 5))
    assert change.abs().min() > 1e-4


def test_either_modality_has_half_of_the_say_however_many_tokens_it_has(generator):
    fusion = built(TimeFusionConfig(d_model=16, num_layers=1, num_heads=2))
    given = features(generator)
    fusion.layers = torch.nn.ModuleList()
    doubled = AV(given.audio.repeat(1, 3, 1), given.video)
    assert_close(fusion(doubled, torch.zeros(2, 5)), fusion(given, torch.zeros(2, 5)))


def test_attention_has_a_right_second_derivative(generator):
    torch.manual_seed(0)
    attention = FusionAttention(4, 1).double()
    tokens = torch.randn(1, 3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    rotary = Rotary(torch.arange(3, dtype=torch.float64), 4)
    assert torch.autograd.gradgradcheck(lambda x: attention(x, rotary), (tokens,))


def test_times_are_the_centres_of_the_steps():
    assert_close(times_of(3, 4.0, torch.zeros(1)), torch.tensor([0.125, 0.375, 0.625]))


@pytest.mark.parametrize("seconds", [0.0, 0.3, 600.0])
def test_rotation_keeps_lengths(seconds, generator):
    x = torch.randn(2, 3, 8, generator=generator)
    turned = Rotary(torch.full((3,), seconds), 8).turn(x)
    assert_close(turned.norm(dim=-1), x.norm(dim=-1))


def test_level_features_are_finite_and_tell_neighbouring_rows_apart():
    rows = level_features(scaled_linear().levels(), 32)
    assert rows.shape == (1000, 32)
    assert float((rows[1:] - rows[:-1]).norm(dim=1).min()) > 1e-3


def test_level_features_of_a_clean_latent_are_those_of_the_angle_zero():
    clean = level_features(NoiseLevel.clean(2), 8)
    assert_close(clean, torch.tensor([[0.0] * 4 + [1.0] * 4] * 2, dtype=torch.float64))


def test_the_pooled_head_sees_both_sides_together_and_no_time(generator):
    fusion, condition = built(PooledFusionConfig(16)), torch.zeros(2, 5)
    first, second = features(generator), features(generator)
    turned = AV(first.audio.flip(1), first.video)
    assert_close(fusion(turned, condition), fusion(first, condition))
    straight = fusion(first, condition) + fusion(second, condition)
    crossed = fusion(AV(first.audio, second.video), condition) + fusion(
        AV(second.audio, first.video), condition
    )
    assert (straight - crossed).abs().min() > 1e-6
