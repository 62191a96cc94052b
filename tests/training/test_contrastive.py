"""Contrast within a batch learns what belongs together, and only from what it may learn it from."""

import json
import math
from dataclasses import replace

import pytest
import torch
from closeness import assert_close

from mmdisco.core.av import AV
from mmdisco.core.coupling import SameTimestep
from mmdisco.core.denoiser import Conditioning, JointDenoiser
from mmdisco.core.losses import MMDisCoLoss, NoisedPairs
from mmdisco.core.noise import NoiseLevel, scaled_linear
from mmdisco.core.noise_levels import NoiseLevelSampler, PowerSampler
from mmdisco.core.pairs import Pairs
from mmdisco.discriminators.convolutions import SpectrogramLatents, VideoLatents
from mmdisco.discriminators.correlation import CorrelationFusionConfig
from mmdisco.discriminators.fusion import TimeFusionConfig
from mmdisco.discriminators.two_tower import AudioVideoConfig, AudioVideoDiscriminator
from mmdisco.errors import UserError
from mmdisco.training.batches import Batches, rows_of
from mmdisco.training.config import ContrastiveConfig, TrainerConfig
from mmdisco.training.contrastive import (
    CaptionGroups,
    ContrastiveLoss,
    ContrastiveTerm,
    GroupedNoiseLevels,
)
from mmdisco.training.trainer import Trainer, TrainerState

PATH = SameTimestep(AV(scaled_linear(), scaled_linear()))
KEYS = ["red"] * 5 + ["blue"] * 3 + ["green"]


class Unasked(JointDenoiser):
    """A base that contrast never runs."""

    def predict_noise(self, z_t, level, cond):
        raise AssertionError("the base was run")


BASE = Unasked()
NULL = AV(Conditioning(torch.full((1, 2), -1.0)), Conditioning(torch.full((1, 2), -1.0)))


def groups_of(size: int, uncaptioned: float) -> ContrastiveConfig:
    return ContrastiveConfig(group_size=size, uncaptioned_fraction=uncaptioned)


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
        AudioVideoConfig(audio, video, width=16, depth=1, channel_mult=(1,), fusion=fusion)
    )


PRODUCTS = CorrelationFusionConfig(
    d_model=16, num_layers=1, num_heads=2, num_products=2, product_dim=8
)


def test_a_group_is_of_one_caption_and_strangers_of_none(generator):
    drawn = CaptionGroups.of(pairs(9), KEYS, NULL, groups_of(3, 0.5)).draw(1200, generator)
    told = drawn.cond.video.pooled[:, 0].unflatten(0, (400, 3))
    assert bool((told == told[:, :1]).all())
    assert bool((told[:200] == -1).all())
    rows = (drawn.z_0.audio[:, None, 0, 0, 0] == pairs(9).z_0.audio[:, 0, 0, 0]).long().argmax(1)
    for group, caption in zip(rows.unflatten(0, (400, 3))[200:], told[200:, 0].long(), strict=True):
        assert len(set(group.tolist())) == 3
        assert {KEYS[row] for row in group.tolist()} == {KEYS[caption]} != {"green"}
    assert set(rows[:600].tolist()) == set(range(9))


def grouped(size: int) -> GroupedNoiseLevels:
    return GroupedNoiseLevels(PATH, PowerSampler(2.0), independent=0.5, group_size=size)


def test_a_group_shares_its_noise_levels(generator):
    levels = grouped(3).draw(12, generator).levels
    for side in (levels.audio, levels.video):
        sigma = side.sigma.unflatten(0, (4, 3))
        assert bool((sigma == sigma[:, :1]).all())
        assert len(sigma[:, 0].unique()) == 4


def noised(groups: CaptionGroups, count: int, generator: torch.Generator) -> NoisedPairs:
    drawn = groups.draw(count, generator)
    eps = drawn.z_0.map(lambda x: torch.randn(x.shape, generator=generator))
    return NoisedPairs(drawn, eps, grouped(groups.size).draw(count, generator).levels)


def test_the_loss_is_cross_entropy_over_all_pairs_of_a_group(generator):
    one = network(PRODUCTS)
    real = noised(CaptionGroups.of(pairs(9), KEYS, NULL, groups_of(3, 0.0)), 6, generator)
    losses = ContrastiveLoss(3, per_product_weight=0.0).losses(one, BASE, real, real)
    z_t, text = real.z_t, real.pairs.cond.map(lambda cond: cond.pooled)
    # the transformer is not asked
    torch.nn.init.zeros_(one.get_parameter("fusion.last.weight"))
    expected, right = [0.0] * 6, [0.0] * 6
    for heard in range(6):
        for seen in range(heard // 3 * 3, heard // 3 * 3 + 3):
            pair = AV(z_t.audio[[heard]], z_t.video[[seen]])
            level = real.level.map(lambda at, row=heard: at_row(at, row))
            told = text.map(lambda one, row=heard: one[[row]])
            logit = float(one(pair, level, told)[0].detach())
            if heard == seen:
                expected[heard] += math.log1p(math.exp(-logit))
                right[heard] += 0.5 * (logit > 0)
            else:
                expected[heard] += math.log1p(math.exp(logit)) / 2
                right[heard] += 0.25 * (logit < 0)
    assert_close(losses.discrimination, torch.tensor(expected))
    assert_close(losses.correct, torch.tensor(right))
    assert torch.equal(ContrastiveLoss(3).total(losses), losses.discrimination)


def at_row(level: NoiseLevel, row: int) -> NoiseLevel:
    return NoiseLevel(level.t[[row]], level.alpha[[row]], level.sigma[[row]])


def first_training(steps: int) -> Trainer:
    return Trainer(
        base=BASE,
        levels=grouped(8),
        loss=ContrastiveLoss(8),
        config=TrainerConfig(
            steps=steps, batch_size=16, learning_rate=1e-3, warmup_steps=5, log_every=10
        ),
        null=NULL,
    )


def test_it_learns_which_pairs_belong_together(tmp_path):
    untold = AV(Conditioning(torch.zeros(64, 2)), Conditioning(torch.zeros(64, 2)))
    groups = CaptionGroups.of(
        replace(pairs(64), cond=untold), ["all"] * 64, NULL, groups_of(8, 0.0)
    )
    trainer = first_training(100)
    trainer.fit(network(PRODUCTS), groups, groups, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    # blind to either side neither of its parts can fall below 2 ln 2
    assert lines[-1]["discrimination"] < 0.9 * (1 + 0.5) * 2 * math.log(2)
    assert lines[-1]["accuracy"] > 0.6


def gradient_of(tmp_path, term: ContrastiveTerm | None) -> dict[str, torch.Tensor]:
    """The gradient of one step of the training of a new network."""
    config = TrainerConfig(steps=2, batch_size=4, max_grad_norm=1e6, caption_dropout=0.0)
    levels, trained = NoiseLevelSampler(PATH, PowerSampler(1.0)), network(PRODUCTS)
    trainer = Trainer(BASE, levels, MMDisCoLoss(1.0, 0.0), config, NULL, contrastive=term)
    run = TrainerState(trainer, trained, tmp_path)
    groups = CaptionGroups.of(pairs(64), ["all"] * 64, NULL, groups_of(4, 0.0))
    run.update(1, groups, groups)
    return {name: one.grad for name, one in trained.named_parameters() if one.grad is not None}


def test_as_a_third_term_its_gradient_is_added_by_its_weight(tmp_path):
    config = TrainerConfig(steps=2, batch_size=16, caption_dropout=0.0)
    groups = CaptionGroups.of(pairs(64), ["all"] * 64, NULL, groups_of(8, 0.0))
    term = ContrastiveTerm(ContrastiveLoss(8), 10.0, Batches(grouped(8), config, NULL), groups)
    alone = network(PRODUCTS)
    real = term.noised(1)[1]
    (10 * ContrastiveLoss(8).losses(alone, BASE, real, real).discrimination.mean()).backward()
    without, beside = gradient_of(tmp_path, None), gradient_of(tmp_path, term)
    expected = {
        name: torch.stack([x for x in (without.get(name), one.grad) if x is not None]).sum(0)
        for name, one in alone.named_parameters()
    }
    assert beside.keys() == expected.keys()
    # some weights get no gradient from the new network, whose last layer is zero
    scale = max(float(one.abs().max()) for one in expected.values())
    for name, one in expected.items():
        assert_close(beside[name], one, scale=scale)
    # other pairs and other noise than those of the paper's losses, and new ones in every step
    assert not torch.equal(term.noised(0)[1].eps.audio, real.eps.audio)
    assert not torch.equal(term.batches.real(1, groups)[1].eps.audio, real.eps.audio)


def test_two_processes_share_whole_groups(generator):
    groups = CaptionGroups.of(pairs(64), ["all"] * 64, NULL, groups_of(8, 0.0))
    real = noised(groups, 16, generator)
    one = network(PRODUCTS)
    whole = ContrastiveLoss(8).losses(one, BASE, real, real).discrimination
    halves = [
        ContrastiveLoss(8).losses(one, BASE, part, part).discrimination
        for part in (rows_of(real, slice(0, 8)), rows_of(real, slice(8, 16)))
    ]
    assert_close(torch.cat(halves), whole)
    with pytest.raises(UserError, match="multiple of the group size"):
        ContrastiveLoss(8).losses(one, BASE, rows_of(real, slice(0, 12)), real)


def test_what_cannot_be_contrasted_says_so(generator):
    with pytest.raises(UserError, match="smaller groups"):
        CaptionGroups.of(pairs(9), KEYS, NULL, groups_of(6, 0.0))
    assert len(CaptionGroups.of(pairs(9), KEYS, NULL, groups_of(6, 1.0)).draw(6, generator)) == 6
    with pytest.raises(UserError, match="at least 2"):
        ContrastiveLoss(1)
    real = noised(CaptionGroups.of(pairs(9), KEYS, NULL, groups_of(3, 0.0)), 6, generator)
    blind = network(TimeFusionConfig(d_model=16, num_layers=1, num_heads=2))
    with pytest.raises(UserError, match="fusion"):
        ContrastiveLoss(3).losses(blind, BASE, real, real)
