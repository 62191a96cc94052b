import json
from dataclasses import replace

import pytest
import torch
from closeness import assert_close

from mmdisco.core.av import AV, each
from mmdisco.core.coupling import SameTimestep
from mmdisco.core.denoiser import Conditioning, IndependentDenoisers, JointDenoiser
from mmdisco.core.losses import MMDisCoLoss, NoisedPairs
from mmdisco.core.noise import linear
from mmdisco.core.noise_levels import LossSecondMomentSampler, NoiseLevelSampler, PowerSampler
from mmdisco.core.pairs import Pairs, PairSource
from mmdisco.core.sampler import Sampler
from mmdisco.core.schedulers import ddim
from mmdisco.data.fake_pairs import generate_fake_pairs
from mmdisco.data.pair_store import PairStore
from mmdisco.data.pairing import Recombined
from mmdisco.discriminators.mlp import VectorConfig, VectorDiscriminator
from mmdisco.errors import UserError
from mmdisco.experiments.toy.problems import (
    BasePairs,
    ExactLogRatio,
    MixtureDenoiser,
    RealPairs,
    problem,
)
from mmdisco.io.files import read_tensors
from mmdisco.training.cached_denoiser import CachedDenoiser
from mmdisco.training.config import TrainerConfig
from mmdisco.training.trainer import Trainer

GOAL = problem("mixture", "ind")
PATH = SameTimestep(AV(linear(), linear()))
BASE = IndependentDenoisers(GOAL.bases.map(lambda law: MixtureDenoiser(law, linear())))
NONE = AV(Conditioning.none(1), Conditioning.none(1))
SHORT = TrainerConfig(
    steps=12,
    batch_size=16,
    warmup_steps=2,
    weight_decay=0.0,
    max_grad_norm=5.0,
    ema_decay=0.999,
    log_every=4,
    checkpoint_every=5,
)


def trainer(config=SHORT, objective=None, **law):
    levels = NoiseLevelSampler(PATH, law.pop("time", PowerSampler()), **law)
    return Trainer(BASE, levels, objective or MMDisCoLoss(), config, NONE)


def network(width=16, seed=0):
    torch.manual_seed(seed)
    return VectorDiscriminator(VectorConfig(1, width=width))


def fit(run_dir, training=None, net=None):
    chosen = training or trainer()
    return chosen.fit(net or network(), RealPairs(GOAL), BasePairs(GOAL), run_dir)


def weights(net):
    return torch.cat([one.detach().flatten() for one in net.parameters()])


def noised(source, levels, generator):
    pairs = source.draw(len(levels.audio.sigma), generator)
    eps = pairs.z_0.map(lambda x: torch.randn(x.shape, generator=generator))
    return NoisedPairs(pairs, eps, levels)


class Counting(JointDenoiser):
    """A base that counts how often it is asked."""

    def __init__(self, base=BASE):
        self.base = base
        self.asked = 0

    def predict_noise(self, z_t, level, cond):
        self.asked += 1
        return self.base.predict_noise(z_t, level, cond)


# --- losses


def test_exact_ratio_scores_better_than_any_scaled_one(generator):
    class Scaled(ExactLogRatio):
        factor = 1.0

        def forward(self, z_t, level, text):
            return self.factor * super().forward(z_t, level, text)

    levels = NoiseLevelSampler(PATH, PowerSampler()).draw(4000, generator).levels
    real, fake = (
        noised(RealPairs(GOAL), levels, generator),
        noised(BasePairs(GOAL), levels, generator),
    )
    totals = {}
    for factor in (0.0, 0.7, 1.0, 1.4):
        ratio = Scaled(GOAL.joint, GOAL.bases)
        ratio.factor = factor
        losses = MMDisCoLoss().losses(ratio, BASE, real, fake)
        denoising = losses.denoising.audio.mean() + losses.denoising.video.mean()
        totals[factor] = (losses.discrimination.mean().item(), denoising.item())
    for other in (0.0, 0.7, 1.4):
        assert totals[1.0][0] < totals[other][0]
        assert totals[1.0][1] < totals[other][1]


def test_losses_of_weight_zero_are_not_computed(generator):
    levels = NoiseLevelSampler(PATH, PowerSampler()).draw(8, generator).levels
    pairs = noised(RealPairs(GOAL), levels, generator), noised(BasePairs(GOAL), levels, generator)
    only_disc = MMDisCoLoss(1.0, 0.0).losses(network(), BASE, *pairs)
    only_denoise = MMDisCoLoss(0.0, 1.0).losses(network(), BASE, *pairs)
    assert not only_disc.denoising.audio.any()
    assert only_disc.discrimination.any()
    assert only_denoise.denoising.audio.all()
    assert not only_denoise.discrimination.any()


def test_clean_side_has_no_denoising_loss(generator):
    law = NoiseLevelSampler(PATH, PowerSampler(), one_sided=1.0)
    levels = law.draw(64, generator).levels
    pairs = noised(RealPairs(GOAL), levels, generator), noised(BasePairs(GOAL), levels, generator)
    losses = MMDisCoLoss().losses(network(), BASE, *pairs)
    assert torch.equal(losses.denoising.audio == 0, levels.audio.sigma == 0)
    assert torch.equal(losses.denoising.video == 0, levels.video.sigma == 0)


@pytest.mark.parametrize("weights", [(-1.0, 1.0), (1.0, -0.5), (0.0, 0.0)])
def test_meaningless_loss_weights_are_refused(weights):
    with pytest.raises(UserError, match="from 0"):
        MMDisCoLoss(*weights)


# --- noise levels


def test_shares_of_levels_are_kept(generator):
    levels = (
        NoiseLevelSampler(PATH, PowerSampler(), independent=0.3, one_sided=0.4)
        .draw(4000, generator)
        .levels
    )
    clean = AV(levels.audio.sigma == 0, levels.video.sigma == 0)
    equal = levels.audio.sigma == levels.video.sigma
    assert not (clean.audio & clean.video).any()
    assert abs(float(clean.audio.double().mean()) - 0.2) < 0.03
    assert abs(float(clean.video.double().mean()) - 0.2) < 0.03
    assert abs(float(equal.double().mean()) - 0.3) < 0.03


def test_paired_levels_lie_on_the_path(generator):
    draw = NoiseLevelSampler(PATH, PowerSampler()).draw(100, generator)
    assert torch.equal(draw.levels.audio.sigma, PATH.levels(draw.u).audio.sigma)
    assert torch.equal(draw.levels.video.sigma, PATH.levels(draw.u).video.sigma)


def test_power_law_dwells_on_low_noise(generator):
    low, even = (
        NoiseLevelSampler(PATH, PowerSampler(power)).draw(1000, generator).u for power in (2.0, 1.0)
    )
    assert abs(float(even.mean()) - 1 / 2) < 0.01
    assert abs(float(low.mean()) - 1 / 3) < 0.01


def test_importance_law_draws_where_the_loss_is_and_stays_unbiased(generator):
    law = LossSecondMomentSampler(bins=4, memory=0.9, floor=0.1)
    even = torch.rand(400, generator=generator, dtype=torch.float64)
    law.observe(even, torch.where(even > 0.75, 10.0, 0.1))
    u = NoiseLevelSampler(PATH, law).draw(4000, generator).u
    assert float((u > 0.75).double().mean()) > 0.7
    # E[w f(u)] is the uniform mean of f
    assert_close(float((law.weight(u) * u).mean()), 0.5, rtol=0.05)


@pytest.mark.parametrize("shares", [(-0.1, 0.0), (0.6, 0.6)])
def test_impossible_shares_are_refused(shares):
    with pytest.raises(UserError, match="at most 1"):
        NoiseLevelSampler(PATH, PowerSampler(), *shares)


# --- the loop


@pytest.mark.parametrize("stop", [1, 5, 7, 11])
def test_resumed_run_equals_the_uninterrupted_one_bit_for_bit(stop, tmp_path):
    law = {"time": LossSecondMomentSampler(bins=4), "independent": 0.3, "one_sided": 0.3}
    whole = fit(tmp_path / "whole", trainer(**law))
    law["time"] = LossSecondMomentSampler(bins=4)
    steps = trainer(**law).steps(network(), RealPairs(GOAL), BasePairs(GOAL), tmp_path / "parts")
    for _ in range(stop):
        next(steps)
    del steps  # what lies beyond the last checkpoint is lost, as after kill -9
    law["time"] = LossSecondMomentSampler(bins=4)
    resumed = fit(tmp_path / "parts", trainer(**law), network(seed=99))
    assert torch.equal(weights(whole), weights(resumed))
    for name in ("checkpoint.safetensors", "log.jsonl"):
        first, second = ((tmp_path / run / name).read_bytes() for run in ("whole", "parts"))
        assert first == second


# --- a base that remembers


def remembering(folder, base, **settings):
    training = trainer(SHORT.updated(settings))
    return replace(training, base=CachedDenoiser(base, folder))


def test_base_is_run_once_for_each_noised_batch_of_the_period(tmp_path):
    counting = Counting()
    training = remembering(tmp_path / "bases", counting, cache_period=5)
    fit(tmp_path / "first", training)
    assert counting.asked == 5
    fit(tmp_path / "second", training, network(seed=1))
    assert counting.asked == 5


def test_remembered_predictions_are_those_of_the_base(tmp_path, generator):
    batch = noised(RealPairs(GOAL), PATH.levels(torch.rand(16, generator=generator)), generator)
    question = (batch.z_t, batch.level, batch.pairs.cond)
    base = CachedDenoiser(BASE, tmp_path)
    first, second = base.predict_noise(*question), base.predict_noise(*question)
    assert_close(first.audio, BASE.predict_noise(*question).audio, rtol=1e-3)
    assert torch.equal(first.audio, second.audio)
    assert torch.equal(first.video, second.video)


@pytest.mark.parametrize("part", ["sound", "picture", "level", "caption"])
def test_another_question_is_not_answered_from_memory(part, tmp_path, generator):
    batch = noised(RealPairs(GOAL), PATH.levels(torch.rand(4, generator=generator)), generator)
    z, level, cond = batch.z_t, batch.level, batch.pairs.cond
    base = CachedDenoiser(counting := Counting(), tmp_path)
    base.predict_noise(z, level, cond)
    if part == "sound":
        z = replace(z, audio=z.audio + 1e-6)
    elif part == "picture":
        z = replace(z, video=z.video + 1e-6)
    elif part == "level":
        level = replace(level, video=replace(level.video, t=level.video.t + 1))
    else:
        cond = replace(cond, audio=Conditioning(cond.audio.pooled, (torch.ones(4, 1),)))
    base.predict_noise(z, level, cond)
    assert counting.asked == 2


def test_damaged_memory_is_made_again(tmp_path, generator):
    batch = noised(RealPairs(GOAL), PATH.levels(torch.rand(4, generator=generator)), generator)
    question = (batch.z_t, batch.level, batch.pairs.cond)
    base = CachedDenoiser(BASE, tmp_path)
    first = base.predict_noise(*question)
    (kept,) = tmp_path.rglob("*.safetensors")
    kept.write_bytes(kept.read_bytes()[:-4])
    assert torch.equal(base.predict_noise(*question).audio, first.audio)
    assert torch.equal(read_tensors(kept)["audio"].float(), first.audio)


def test_fakes_are_new_in_every_period(tmp_path):
    training = trainer(SHORT.updated({"cache_period": 5}))
    (draw, real), (_, again) = (training.batches.real(step, RealPairs(GOAL)) for step in (1, 6))
    assert torch.equal(real.z_t.audio, again.z_t.audio)
    fakes = [training.batches.fake(step, BasePairs(GOAL), draw.levels) for step in (1, 6)]
    assert not torch.equal(fakes[0].z_t.audio, fakes[1].z_t.audio)


def test_log_tells_both_losses_by_modality_and_level(tmp_path):
    fit(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [4, 8, 12]
    assert lines[0]["discrimination"] > 0
    assert lines[0]["denoising_audio"] > 0
    assert len(lines[0]["by_angle"]["denoising_video"]) == 8


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 1e-4},
        {"batch_size": 8},
        {"warmup_steps": 10},
        {"weight_decay": 10.0},
        {"max_grad_norm": 1e-3},
        {"ema_decay": 0.0},
        {"seed": 1},
        {"cache_period": 3},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_setting_changes_the_result(change, tmp_path):
    usual = fit(tmp_path / "usual")
    other = fit(tmp_path / "other", trainer(SHORT.updated(change)))
    assert not torch.equal(weights(usual), weights(other))


class Captioned(PairSource):
    """The caption tells the audio."""

    def draw(self, count, generator):
        pairs = RealPairs(GOAL).draw(count, generator)
        cond = pairs.z_0.map(lambda x: Conditioning(torch.cat([x, x], dim=1)))
        return Pairs(pairs.z_0, cond)


def test_caption_dropout_changes_the_result(tmp_path):
    null = AV(*[Conditioning(torch.zeros(1, 2))] * 2)
    results = []
    for share in (0.0, 1.0):
        torch.manual_seed(0)
        net = VectorDiscriminator(VectorConfig(1, width=16, text_width=2))
        config = SHORT.updated({"caption_dropout": share})
        training = replace(trainer(config), null=null)
        training.fit(net, Captioned(), Captioned(), tmp_path / str(share))
        results.append(net)
    captioned, dropped = (net.get_parameter("context.0.weight")[:, -4:] for net in results)
    torch.manual_seed(0)
    fresh = VectorDiscriminator(VectorConfig(1, width=16, text_width=2))
    untouched = fresh.get_parameter("context.0.weight")
    assert torch.equal(dropped, untouched[:, -4:])
    assert not torch.equal(captioned, untouched[:, -4:])


def test_checkpoint_of_another_shape_is_refused(tmp_path):
    fit(tmp_path)
    with pytest.raises(UserError, match=r"context.0.bias is \(16,\), this network's is \(24,\)"):
        fit(tmp_path, net=network(width=24))


def test_checkpoint_of_other_settings_is_refused(tmp_path):
    fit(tmp_path)
    with pytest.raises(UserError, match="trained with seed 0, this run asks for 1"):
        fit(tmp_path, trainer(SHORT.updated({"seed": 1})))


def test_damaged_checkpoint_is_refused(tmp_path):
    fit(tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="damaged"):
        fit(tmp_path)


def test_checkpoint_with_a_changed_value_is_refused(tmp_path):
    fit(tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="its checksum is another"):
        fit(tmp_path)


class Broken(PairSource):
    def draw(self, count, generator):
        pairs = RealPairs(GOAL).draw(count, generator)
        return Pairs(pairs.z_0.map(lambda x: x * torch.nan), pairs.cond)


def test_nan_in_data_ends_the_run_with_a_reason(tmp_path):
    with pytest.raises(UserError, match="not finite at step 0: look for NaN in the data"):
        trainer().fit(network(), Broken(), BasePairs(GOAL), tmp_path)


def test_unwritable_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write"):
        fit(tmp_path / "file" / "run")


@pytest.mark.parametrize(
    "wrong",
    [{"steps": 0}, {"steps": -5}, {"batch_size": 0}, {"learning_rate": -1.0}, {"ema_decay": 2.0}],
    ids=str,
)
def test_impossible_settings_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(UserError, match=rf"^{name} -?\d.*: give (more than 0|0 to 1)$"):
        SHORT.updated(wrong)


# --- stores


def some_pairs(count, generator):
    return RealPairs(GOAL).draw(count, generator)


def test_store_returns_what_was_put_in(tmp_path, generator):
    store = PairStore(tmp_path, "real")
    pairs = some_pairs(5, generator)
    embeds = (torch.randn(5, 3, 2), torch.randn(5, 1))
    cond = AV(Conditioning(torch.randn(5, 4), embeds), Conditioning(torch.randn(5, 2)))
    store.append(replace(pairs, cond=cond))
    store.append(replace(pairs, cond=cond))
    back = PairStore(tmp_path, "real").read()
    assert len(back) == 10
    assert torch.equal(back.z_0.audio[5:], pairs.z_0.audio)
    assert torch.equal(back.cond.audio.embeds[0][:5], embeds[0])
    assert back.cond.video.embeds == ()


def test_store_refuses_values_that_are_not_finite(tmp_path):
    store = PairStore(tmp_path, "real")
    with pytest.raises(UserError, match=r"audio.z_0 has values that are not finite"):
        store.append(Broken().draw(4, torch.Generator()))
    assert not (tmp_path / "store.json").exists()


def test_store_names_a_damaged_shard(tmp_path, generator):
    PairStore(tmp_path, "real").append(some_pairs(5, generator))
    shard = tmp_path / "shard-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-8])
    with pytest.raises(UserError, match=r"shard-00000\.safetensors is damaged"):
        PairStore(tmp_path, "real").read()


def test_store_of_the_other_kind_is_refused(tmp_path, generator):
    PairStore(tmp_path, "fake").append(some_pairs(2, generator))
    with pytest.raises(UserError, match="holds fake pairs"):
        PairStore(tmp_path, "real")


def test_empty_store_is_refused(tmp_path):
    with pytest.raises(UserError, match="fill it first"):
        PairStore(tmp_path, "real").draw(1, torch.Generator())


def test_interrupted_fakes_go_on_to_the_same_pairs(tmp_path):
    def generate(folder, shards):
        none = Conditioning.none(6)
        sampler = Sampler(PATH, AV(ddim(), ddim()), 3)
        shape = torch.Size([1])
        progress = generate_fake_pairs(
            BASE,
            sampler,
            [AV(none, none)] * 3,
            AV(shape, shape),
            PairStore(folder, "fake"),
            seed=4,
        )
        for _ in range(shards):
            next(progress)

    generate(tmp_path / "whole", 3)
    generate(tmp_path / "parts", 1)
    generate(tmp_path / "parts", 2)
    for shard in range(3):
        name = f"shard-{shard:05d}.safetensors"
        one, two = (read_tensors(tmp_path / run / name) for run in ("whole", "parts"))
        assert torch.equal(one["audio.z_0"], two["audio.z_0"])
    first, second = (
        read_tensors(tmp_path / "whole" / f"shard-0000{i}.safetensors") for i in (0, 1)
    )
    assert not torch.equal(first["audio.z_0"], second["audio.z_0"])


def test_repaired_halves_come_from_different_pairs(generator):
    pairs = Recombined(RealPairs(problem("gaussian", "ind"))).draw(4000, generator)
    product = each(lambda x, y: (x * y).mean(), pairs.z_0, pairs.z_0.swap())
    assert abs(float(product.audio)) < 0.06
