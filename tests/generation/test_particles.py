"""Candidates that are resampled on the way."""

from collections import deque
from dataclasses import replace

import pytest
import torch
from closeness import BATCH, assert_close, is_close

from mmdisco import generate
from mmdisco.core.av import AV
from mmdisco.core.coupling import SameTimestep
from mmdisco.core.denoiser import Conditioning, IndependentDenoisers
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.log_ratio import ReuseEvery
from mmdisco.core.noise import NoiseLevel, linear
from mmdisco.core.rng import NoiseSource, seeded_generator
from mmdisco.core.sampler import Sampler
from mmdisco.core.schedulers import ddpm
from mmdisco.errors import UserError
from mmdisco.experiments.miniature.evaluation import SMC_EVERY, Bench, joint_generation, rows
from mmdisco.experiments.toy.problems import ExactLogRatio, MixtureDenoiser, problem
from mmdisco.generation.bill import bill_of
from mmdisco.generation.config import GenerateConfig
from mmdisco.generation.cost import CountingDiscriminator
from mmdisco.generation.generate import prepare, sampler_config
from mmdisco.generation.particles import SequentialMonteCarlo, systematic
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.generation.resolve import check, resolve
from mmdisco.media.sounding_objects.dataset import example
from mmdisco.media.write import write_clip

PROMPT = "a red ball bouncing"
ALWAYS = 1.1  # a threshold that every effective sample size is below
NO_TEXT = AV(torch.zeros(0, 0), torch.zeros(0, 0))


class Told(Discriminator):
    """Says the logits it was given, look by look."""

    def __init__(self, *logits):
        super().__init__()
        self.logits = [torch.tensor(one) for one in logits]

    def forward(self, z_t, level, text):
        return self.logits.pop(0)


def looks(settings, *logits, seeds=(0, 1, 2, 3)):
    """Rows after each step, and what was seen."""
    seen = []
    particles = replace(settings, watch=seen.append).begin(Told(*logits), NO_TEXT, seeds)
    x, level = torch.zeros(len(seeds), 1), NoiseLevel.clean(len(seeds))
    rows = [particles.rows(step, AV(x, x), AV(level, level)) for step in range(len(logits))]
    return rows, seen


@pytest.mark.parametrize("weights", [[0.1, 0.2, 0.3, 0.4], [0.0, 0.5, 0.5, 0.0], [1.0, 0, 0, 0]])
def test_each_particle_goes_on_about_as_often_as_its_weight_says(weights):
    expected = 4 * torch.tensor(weights, dtype=torch.float64)
    drawn = [systematic(expected / 4, seeded_generator(seed, 0)) for seed in range(400)]
    times = torch.stack([torch.bincount(rows, minlength=4) for rows in drawn]).double()
    assert bool(((times - expected).abs() < 1).all())
    assert_close(times.mean(0), expected, rtol=0.03, scale=4)
    for chosen, own in zip(drawn, times, strict=True):
        assert torch.equal(chosen[own > 0], torch.arange(4)[own > 0])  # who goes on keeps its place


def test_weights_are_ratios_of_targets_since_the_last_resampling():
    # e^h of 1 : 3, then of 1 : 9999, after which the second particle is in both places
    small, large = torch.tensor([3.0, 9999.0]).log().tolist()
    told = ([0.0, small], [0.0, large], [7.0, 7.0 + small])
    chosen, seen = looks(SequentialMonteCarlo(2, threshold=0.6), *told, seeds=(0, 1))
    assert chosen == [None, [1, 1], None]
    assert [one.resampled for one in seen] == [[False], [True], [False]]
    # both had one logit then: what they have gained since is what counts
    assert_close([one.sizes[0] for one in seen], [1.6, 1e8 / (9999**2 + 1), 1.6], rtol=1e-5)
    assert seen[2].of_clip(0) == {"step": 3, "size": 1.6, "resampled": False}


def test_clips_are_resampled_apart_and_only_where_few_candidates_count():
    logits = [0.0, 0.0, 0.0, 0.0, 9.0, 0.0, 0.0, 0.0]
    chosen, (look,) = looks(SequentialMonteCarlo(4), logits, seeds=range(8))
    assert chosen == [[0, 1, 2, 3, 4, 4, 4, 4]]
    assert look.resampled == [False, True]
    assert_close(look.sizes[:1], [4.0], rtol=1e-9)


def test_weights_are_looked_at_every_so_many_steps():
    seen = []
    settings = SequentialMonteCarlo(3, every=3, watch=seen.append)
    particles = settings.begin(Told([0.0] * 3, [0.0] * 3), NO_TEXT, (0, 1, 2))
    x, level = torch.zeros(3, 1), NoiseLevel.clean(3)
    for step in range(7):
        particles.rows(step, AV(x, x), AV(level, level))
    assert [one.step for one in seen] == [3, 6]


def test_resampling_alone_turns_the_unguided_models_into_the_joint():
    goal, count = problem("gaussian", "ind"), 4000
    base = IndependentDenoisers(goal.bases.map(lambda law: MixtureDenoiser(law, linear())))
    sampler = Sampler(SameTimestep(AV(linear(), linear())), AV(ddpm(), ddpm()), 100)
    noise, shape, none = NoiseSource.from_seeds([0]), torch.Size([count, 1]), Conditioning.none
    z_T = sampler.initial(noise, AV(shape, shape))
    ratio, cond = ExactLogRatio(goal.joint, goal.bases), AV(none(count), none(count))
    looks, text = [], cond.map(lambda one: one.pooled)
    own = SequentialMonteCarlo(count, watch=looks.append).begin(ratio, text, [0] * count)
    z_0 = deque(sampler.run(base, z_T, cond, noise, own), maxlen=1).pop()
    assert any(look.resampled[0] for look in looks)
    clean = NoiseLevel.clean(count)
    weights = (ratio(z_0, AV(clean, clean), text) - own.before[0]).softmax(0)
    covariance = torch.cov(torch.cat([z_0.audio, z_0.video], 1).T.double(), aweights=weights)
    deviations = covariance.diag().sqrt()
    assert abs(float(covariance[0, 1] / deviations.prod()) - 0.9) < 0.02
    assert_close(deviations, [1.0, 1.0], rtol=0.05)


def prepared_of(pair, **options):
    config = GenerateConfig(prompt=PROMPT, weights=pair, scheduler="ddpm", **options)
    system = MiniatureSystem(pair)
    resolved = resolve(config, system)
    check(resolved, system)
    return prepare(resolved, system)


class Loud(Discriminator):
    """A discriminator whose logits lie far apart."""

    def __init__(self, own):
        super().__init__()
        self.own = own

    def forward(self, z_t, level, text):
        return 1e4 * self.own(z_t, level, text)


def always(prepared):
    """The same, resampled at every look, by logits that lie far apart."""
    run = prepared.generation
    settings = replace(run.settings, smc=replace(run.settings.smc, threshold=ALWAYS))
    loud = Loud(run.discriminator)
    return replace(prepared, generation=replace(run, settings=settings, discriminator=loud))


def last(prepared, watch=None):
    return deque(prepared.run(watch), maxlen=1).pop()


def test_a_resampled_clip_depends_on_its_own_seed_alone(tiny_pair):
    options = {"steps": 3, "candidates": 3, "smc_every": 1, "no_joint_guidance": True}
    both, seen = always(prepared_of(tiny_pair, seed=5, samples=2, **options)), []
    z_0 = last(both, seen.append)
    assert [one.step for one in seen] == [1, 2]
    assert all(one.resampled == [True, True] for one in seen)
    alone = always(prepared_of(tiny_pair, seed=6, **options))
    assert_close(z_0.video[3:], last(alone).video, rtol=BATCH)
    plain = last(prepared_of(tiny_pair, seed=5, samples=2, **{**options, "smc_every": None}))
    assert not is_close(z_0.video, plain.video, rtol=BATCH)


@pytest.mark.parametrize("side", ["video", "audio"])
def test_a_given_side_stays_as_candidates_of_the_other_are_resampled(tiny_pair, tmp_path, side):
    write_clip(tmp_path / "clip.mp4", example(0, 0).clip)
    given = {side: tmp_path / "clip.mp4"}
    prepared = prepared_of(tiny_pair, **given, steps=3, candidates=3, smc_every=2)
    seen = []
    z_0 = last(prepared, seen.append)
    assert [one.step for one in seen] == [2]
    held, made = (getattr(z_0, one) for one in (side, "audio" if side == "video" else "video"))
    assert torch.equal(held[0], held[1])
    assert not torch.equal(made[0], made[1])
    assert len(prepared.select(z_0).clips()) == 1


def test_the_bill_has_a_pass_for_each_look(tiny_pair):
    options = {"steps": 3, "candidates": 3, "smc_every": 1, "scheduler": "ddpm"}
    config = GenerateConfig(prompt=PROMPT, weights=tiny_pair, **options)
    system = MiniatureSystem(tiny_pair)
    bill = bill_of(resolve(config, system))
    own = next(one for one in bill.networks if one.side == "discriminator")
    assert own.passes == 3 + 2 + 1
    # a look is a forward pass, which costs less than a gradient
    counted = CountingDiscriminator(system.discriminator())
    z = system.model().latent_shapes(1.6).map(lambda shape: torch.zeros(3, *shape))
    text = system.model().encode_prompts([PROMPT] * 3).map(lambda one: one.pooled)
    clean = NoiseLevel.clean(3)
    operations = []
    for differentiated in (True, False):
        with torch.set_grad_enabled(differentiated):
            counted(z, AV(clean, clean), text)
        operations.append(counted.passes.operations)
    gradient, forward = operations[0], operations[1] - operations[0]
    assert 0 < forward < gradient / 2
    assert own.operations == 3 * gradient + 3 * forward


def test_resampling_without_effect_is_refused(tiny_pair):
    def refused(match, **options):
        with pytest.raises(UserError, match=match):
            generate(PROMPT, weights=tiny_pair, smc_every=2, **options)

    refused("ask for --candidates 3 or more", scheduler="ddpm", candidates=2)
    refused("no effect in 2 steps", scheduler="ddpm", candidates=3, steps=2)
    refused("ddim adds no noise", scheduler="ddim", candidates=3)
    refused("leave it or --smc-every out", scheduler="ddpm", candidates=3, joint_every=2)


def test_settings_that_choose_from_nothing_are_refused(tiny_pair):
    with pytest.raises(UserError, match="at least one counts"):
        SequentialMonteCarlo(2)
    with pytest.raises(UserError, match="ask for 1 or more"):
        SequentialMonteCarlo(3, every=0)
    settings = sampler_config(GenerateConfig(prompt=PROMPT), MiniatureSystem(tiny_pair))
    with pytest.raises(UserError, match="or resample none"):
        replace(settings, smc=SequentialMonteCarlo(3), reuse=ReuseEvery(2))


def test_the_row_of_the_table_keeps_one_resampled_candidate_of_each_clip(tiny_pair):
    folder = MiniatureSystem(tiny_pair)
    sampling = replace(folder.sampling(), steps=2, scheduler="ddpm", joint_scale=AV(0.0, 0.0))
    bench = Bench.load(folder)

    def frames(told, smc):
        settings = replace(sampling.settings, smc=smc)
        (clips,) = bench.guided(told, settings, joint_generation, 0, 2, 2)
        return torch.stack([torch.as_tensor(one.video.frames) for one in clips])

    # the second candidate takes both places, and the first place is kept
    smc = SequentialMonteCarlo(2, threshold=ALWAYS)
    resampled = frames(Told([0.0, 9.0] * 2, [9.0, 0.0] * 2), smc)
    first, second = (
        frames(Told(*told), None) for told in ([[9.0] * 2, [0.0] * 2], [[0.0] * 2, [9.0] * 2])
    )
    assert resampled.shape == first.shape
    assert (resampled - second).abs().mean() < 0.5 * (resampled - first).abs().mean()


def test_the_table_has_a_row_of_resampled_candidates(tiny_pair):
    sampling = MiniatureSystem(tiny_pair).sampling()
    found = {row.name: row for row in rows(sampling)}
    best, resampled = found["joint, best of 4"], found["joint, resampled 4"]
    assert replace(best, name=resampled.name, smc_every=SMC_EVERY) == resampled
