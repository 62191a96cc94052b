"""Contrast within a batch learns what belongs together, and only from what it may learn it from."""

import math
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from mmdisco.av import AV
from mmdisco.discriminator.audio_video import AudioVideoConfig, AudioVideoDiscriminator
from mmdisco.discriminator.convolutions import SpectrogramLatents, VideoLatents
from mmdisco.discriminator.fusion import TimeFusionConfig
from mmdisco.discriminator.products import ProductFusionConfig
from mmdisco.errors import UserError
from mmdisco.models import Conditioning
from mmdisco.path import IndexPath
from mmdisco.schedule import scaled_linear
from mmdisco.training.contrast import Groups, contrast
from mmdisco.training.levels import LevelLaw, PowerLaw
from mmdisco.training.pairs import Pairs

LEVELS = LevelLaw(IndexPath(AV(scaled_linear(), scaled_linear())), PowerLaw(2.0), independent=0.5)
KEYS = ["red"] * 5 + ["blue"] * 3 + ["green"]
NULL = AV(Conditioning(torch.full((1, 2), -1.0)), Conditioning(torch.full((1, 2), -1.0)))


def pairs(count: int) -> Pairs:
    """Latents that say one thing each, in sound and picture alike; captions that say their row."""
    hidden = torch.randn(count, 2, generator=torch.Generator().manual_seed(0))
    audio = hidden[:, :, None, None].expand(-1, -1, 8, 4).clone()
    video = hidden.flip(1)[:, :, None, None, None].expand(-1, -1, 4, 4, 4).clone()
    told = Conditioning(torch.arange(float(count))[:, None].expand(-1, 2).clone())
    return Pairs(AV(audio, video), AV(told, told))


def network(fusion: TimeFusionConfig) -> AudioVideoDiscriminator:
    """A small one."""
    torch.manual_seed(0)
    audio = SpectrogramLatents(2, 20.0, text_width=2)
    video = VideoLatents(2, 10.0, text_width=2)
    return AudioVideoDiscriminator(
        AudioVideoConfig(audio, video, width=16, depth=1, multipliers=(1,), fusion=fusion)
    )


PRODUCTS = ProductFusionConfig(width=16, layers=1, heads=2, products=2, product_width=8)


def test_a_group_is_of_one_caption_and_strangers_of_none(generator):
    groups = Groups.of(pairs(9), KEYS, NULL, 3, 0.5)
    drawn = groups.draw(400, generator)
    told = drawn.cond.video.pooled[:, 0].unflatten(0, (400, 3))
    assert bool((told == told[:, :1]).all())
    assert bool((told[:200] == -1).all())
    rows = (drawn.z_0.audio[:, None, 0, 0, 0] == pairs(9).z_0.audio[:, 0, 0, 0]).long().argmax(1)
    for group, caption in zip(rows.unflatten(0, (400, 3))[200:], told[200:, 0].long(), strict=True):
        assert len(set(group.tolist())) == 3
        assert {KEYS[row] for row in group.tolist()} == {KEYS[caption]} != {"green"}
    assert set(rows[:600].tolist()) == set(range(9))


def test_a_group_shares_its_noise_levels(generator):
    level = Groups.of(pairs(9), KEYS, NULL, 3, 0.5).noised(4, LEVELS, generator).level
    for side in (level.audio, level.video):
        sigma = side.sigma.unflatten(0, (4, 3))
        assert bool((sigma == sigma[:, :1]).all())
        assert len(sigma[:, 0].unique()) == 4


def test_the_loss_is_cross_entropy_over_all_pairs_of_a_group(generator):
    one = network(PRODUCTS)
    noised = Groups.of(pairs(9), KEYS, NULL, 3, 0.0).noised(2, LEVELS, generator)
    loss = contrast(one, noised, 3)
    features, condition = one.features(
        noised.z_t, noised.level, noised.pairs.cond.map(lambda cond: cond.pooled)
    )
    true = false = 0.0
    for heard in range(6):
        for seen in range(6):
            pair = AV(features.audio[[heard]], features.video[[seen]])
            logit = float(one.fusion.products(pair, condition[[heard]])[0].detach())
            if heard == seen:
                true += math.log1p(math.exp(-logit)) / 6
            elif heard // 3 == seen // 3:
                false += math.log1p(math.exp(logit)) / 12
    assert_close(loss, torch.tensor(true + false))


def test_it_learns_which_pairs_belong_together(generator):
    one = network(PRODUCTS)
    untold = AV(Conditioning(torch.zeros(64, 2)), Conditioning(torch.zeros(64, 2)))
    groups = Groups.of(replace(pairs(64), cond=untold), ["all"] * 64, NULL, 8, 0.0)
    optimizer = torch.optim.AdamW(one.parameters(), lr=1e-3)
    losses: list[float] = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = contrast(one, groups.noised(2, LEVELS, generator), 8)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(one.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    # blind to either side it cannot fall below 2 ln 2
    assert sum(losses[-10:]) / 10 < 0.8 * 2 * math.log(2)


def test_what_cannot_be_contrasted_says_so(generator):
    with pytest.raises(UserError, match="smaller size"):
        Groups.of(pairs(9), KEYS, NULL, 6, 0.0)
    groups = Groups.of(pairs(9), KEYS, NULL, 3, 0.0)
    one = network(TimeFusionConfig(width=16, layers=1, heads=2))
    with pytest.raises(UserError, match="products"):
        contrast(one, groups.noised(2, LEVELS, generator), 3)
