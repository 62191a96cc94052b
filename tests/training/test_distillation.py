"""A discriminator's guidance, distilled: from guided runs and noised pairs to a network."""

import json
from collections import deque
from dataclasses import replace

import pytest
import torch
from closeness import assert_close

import mmdisco as library
from mmdisco.core.av import AV, each
from mmdisco.core.coupling import SameTimestep
from mmdisco.core.denoiser import Conditioning, JointDenoiser
from mmdisco.core.guidance import ConstantScale, JointGuidance
from mmdisco.core.log_ratio import ReuseEvery, backward_pass
from mmdisco.core.noise import NoiseLevel, cosine
from mmdisco.core.noise_levels import NoiseLevelSampler, PowerSampler
from mmdisco.core.pairs import Pairs, PairSource
from mmdisco.discriminators.convolutions import FlatLatents
from mmdisco.discriminators.distilled import BINS, DistilledGradient, DistilledGuidance
from mmdisco.discriminators.fusion import TimeFusionConfig
from mmdisco.discriminators.two_tower import AudioVideoConfig, AudioVideoDiscriminator
from mmdisco.errors import UserError
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.io.files import read_object, read_tensors, sha256
from mmdisco.training.batches import Batches
from mmdisco.training.config import DistillationConfig, TrainerConfig
from mmdisco.training.distillation import (
    Agreement,
    Distillation,
    distillation_loss,
    new_distilled,
    sizes_of,
)
from mmdisco.training.guided_states import GuidanceStates, GuidedRuns, RecordedGradient

READS = AudioVideoConfig(
    FlatLatents(2, 20.0, 3, (2,)),
    FlatLatents(2, 10.0, 3, (2, 2)),
    width=8,
    depth=1,
    channel_mult=(1,),
    fusion=TimeFusionConfig(8, 1, 2),
)
SMALL = DistillationConfig(d_model=16, num_heads=2, patch_width=24)
LEVELS = NoiseLevelSampler(SameTimestep(AV(cosine(), cosine())), PowerSampler(1.0), 0.3, 0.3)


class Noise(PairSource):
    def draw(self, count, generator):
        z_0 = AV(
            torch.randn(count, 2, 4, 2, generator=generator),
            torch.randn(count, 2, 3, 2, 2, generator=generator),
        )
        return Pairs(z_0, AV(*(Conditioning(torch.ones(count, 3)) for _ in range(2))))


class Silent(JointDenoiser):
    def predict_noise(self, z_t, level, cond):
        return z_t.map(torch.zeros_like)


@pytest.fixture(scope="module")
def discriminator():
    torch.manual_seed(0)
    network = AudioVideoDiscriminator(READS)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network.eval().requires_grad_(requires_grad=False)


def states_of(discriminator, count, generator, *, one_sided=0.3):
    level = replace(LEVELS, one_sided=one_sided).draw(count, generator).levels
    pairs = Noise().draw(count, generator)
    recorded = RecordedGradient()
    recorded(discriminator, pairs.z_0, level, pairs.text)
    return recorded.kept[0]


def distillation(discriminator, steps=4):
    generator = torch.Generator().manual_seed(3)
    settings = TrainerConfig(steps=steps, batch_size=2, warmup_steps=1, log_every=2)
    batches = Batches(
        LEVELS, settings.updated({"checkpoint_every": 2}), Noise().draw(1, generator).cond
    )
    return Distillation(
        discriminator, batches, states_of(discriminator, 12, generator), {"discriminator": "a"}
    )


def test_an_overfitted_network_guides_as_the_backward_pass(discriminator, generator):
    states = states_of(discriminator, 4, generator, one_sided=0.0)
    network = new_distilled(SMALL, READS, 0)
    network.sizes.copy_(sizes_of(states))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        distillation_loss(network, states)[0].mean().backward()
        optimizer.step()
    cond = states.text.map(Conditioning)
    exact, distilled = (
        JointGuidance(
            Silent(),
            discriminator,
            AV(ConstantScale(), ConstantScale()),
            ReuseEvery(source=source).begin(),
        ).predict_noise(states.z_t, states.level, cond)
        for source in (backward_pass, DistilledGradient(network))
    )
    for name in ("audio", "video"):
        own, wanted = (getattr(one, name).flatten(1) for one in (distilled, exact))
        cosine_of_each = torch.cosine_similarity(own, wanted)
        assert cosine_of_each.min() > 0.95


def test_states_hold_the_product_in_units_of_no_schedule(discriminator, generator):
    pairs, level = Noise().draw(3, generator), LEVELS.draw(3, generator).levels
    exploding = level.map(
        lambda own: NoiseLevel(own.t, torch.ones_like(own.alpha), own.sigma / own.alpha)
    )
    usual, large = RecordedGradient(), RecordedGradient()
    usual(discriminator, pairs.z_0, level, pairs.text)
    scaled = AV(
        pairs.z_0.audio * exploding.audio.magnitude.float()[:, None, None, None],
        pairs.z_0.video * exploding.video.magnitude.float()[:, None, None, None, None],
    )
    large(discriminator, scaled, exploding, pairs.text)
    assert_close(large.kept[0].product.audio, usual.kept[0].product.audio, rtol=1e-4)
    assert_close(large.kept[0].z_t.video, usual.kept[0].z_t.video, rtol=1e-4)


def test_a_new_network_errs_by_one_at_every_level(discriminator, generator):
    """The loss is relative to the size of the product at its level, so all levels count."""
    states = states_of(discriminator, 4000, generator, one_sided=0.0)

    def product(like, level):
        size = torch.where(level.angle > 0.5, 1000.0, 1.0).float()
        noise = torch.randn(like.shape, generator=generator)
        return noise * size.reshape(-1, *[1] * (like.ndim - 1))

    states = replace(states, product=each(product, states.product, states.level))
    network = new_distilled(SMALL, READS, 0)
    network.sizes.copy_(sizes_of(states))
    losses, _ = distillation_loss(network, states)
    for low in (0.1, 0.65, 0.8):
        inside = (states.level.audio.angle - low).abs() < 0.1
        assert 1.5 < float(losses.detach()[inside].mean()) < 2.5


def test_agreement_is_the_cosine_at_each_angle(discriminator, generator):
    states, agreement = states_of(discriminator, 40, generator), Agreement()
    agreement.add(AV(2 * states.product.audio, -states.product.video), states)
    summary = agreement.summary()
    for name, sign in (("cosine_audio", 1), ("cosine_video", -1)):
        known = [one for one in summary[name] if one is not None]
        assert len(summary[name]) == BINS
        assert known == pytest.approx([sign] * len(known), rel=1e-5)
        assert len(known) > BINS // 2


def test_a_run_that_stops_goes_on_to_the_bit(discriminator, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    work, noise = distillation(discriminator), Noise()

    def run(folder, count=None):
        steps = work.steps(new_distilled(SMALL, READS, 0), noise, noise, folder)
        for done, found in enumerate(steps, start=1):
            if done == count:
                return found
        return found

    wanted = run(whole)
    run(parts, 3)
    found = run(parts)
    for name, value in wanted.state_dict().items():
        assert torch.equal(found.state_dict()[name], value)
    log = "log.jsonl"
    assert (parts / log).read_text() == (whole / log).read_text()
    assert json.loads((whole / log).read_text().splitlines()[-1])["step"] == 4
    other = replace(work, source={"discriminator": "b"})
    with pytest.raises(UserError, match="was distilled with discriminator a, this run asks for b"):
        next(other.steps(new_distilled(SMALL, READS, 0), noise, noise, parts))


def test_guided_runs_keep_where_they_passed(tiny_pair, prepared, tmp_path):
    from mmdisco.data.pair_store import PairStore

    pair = MiniatureSystem(tiny_pair)
    model, real = pair.model(), PairStore(prepared / "train", "real")
    runs = GuidedRuns(
        model,
        pair.method,
        replace(pair.sampling(), steps=3),
        pair.discriminator(),
        model.encode_prompts([""]),
        model.latent_shapes(1.6),
        real,
        one_sided=True,
        factors=(1.0,),
        seed=0,
    )
    deque(runs.fill(tmp_path, [2, 2], {"of": "one"}), maxlen=0)
    first, second = (
        GuidanceStates.from_tensors(read_tensors(path)) for path in sorted(tmp_path.iterdir())
    )
    assert len(first) == len(second) == 2 * 3
    assert not first.level.video.is_clean
    assert second.level.video.is_clean
    assert first.product.video.abs().max() > 0
    assert second.product.video.abs().max() == 0
    assert second.product.audio.abs().max() > 0
    before = {path: sha256(path) for path in tmp_path.iterdir()}
    deque(runs.fill(tmp_path, [2, 2], {"of": "one"}), maxlen=0)
    assert {path: sha256(path) for path in tmp_path.iterdir()} == before


DISTILL = {
    "distillation.steps": 4,
    "distillation.batch_size": 4,
    "distillation.clips": 4,
    "distillation.clips_per_shard": 2,
    "distillation.d_model": 8,
    "distillation.num_heads": 2,
    "distillation.patch_width": 8,
}


def test_one_option_of_train_makes_a_network_that_generate_takes(
    asked, mmdisco, tiny_pair, tmp_path
):
    out = tmp_path / "own"
    asked = [*asked, "--set", "validation.every=0", "--out", out]
    plain = mmdisco(*asked)
    assert plain.status == 0, plain.err
    weights = sha256(out / "model.safetensors")
    clip = {"weights": tiny_pair, "discriminator": str(out), "guidance": "distilled", "steps": 3}
    with pytest.raises(UserError, match="holds no distilled network: make one with `mmdisco train"):
        library.generate("a red ball bouncing", **clip)
    # added to a training that is done
    changes = [word for key, value in DISTILL.items() for word in ("--set", f"{key}={value}")]
    done = mmdisco(*asked, *changes, "--distill")
    assert done.status == 0, done.err
    assert done.out == [str(out)]
    assert sha256(out / "model.safetensors") == weights
    record = read_object(out / "distilled.json")
    assert record["discriminator"] == weights
    assert len(record["held_out"]["cosine_video"]) == BINS
    assert DistilledGuidance.load(out, weights).network.config.d_model == 8
    assert len(library.generate("a red ball bouncing", **clip)) == 1
