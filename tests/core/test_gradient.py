"""How often a run asks the discriminator, and what it holds in between."""

import pytest
import torch
from closeness import assert_close
from torch import nn

from mmdisco.core.av import AV
from mmdisco.core.coupling import SameTimestep
from mmdisco.core.denoiser import Conditioning, JointDenoiser
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.guidance import ConstantScale, IntervalScale, JointGuidance
from mmdisco.core.log_ratio import ReuseEvery, log_ratio_gradient
from mmdisco.core.noise import NoiseLevel, linear
from mmdisco.errors import UserError

NONE = AV(Conditioning.none(2), Conditioning.none(2))


class Product(Discriminator):
    """h = audio · video of the latents in VP units; counts how often it is asked."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(()))
        self.calls = 0

    def forward(self, z_t, level, text):
        self.calls += 1
        return (level.audio.to_vp(z_t.audio) * level.video.to_vp(z_t.video)).sum(1) + self.bias


class Silent(JointDenoiser):
    def predict_noise(self, z_t, level, cond):
        return z_t.map(torch.zeros_like)


def levels(u):
    own = linear()
    return SameTimestep(AV(own, own)).levels(torch.full((2,), u, dtype=torch.float64))


def guided(asking, discriminator, scale=None):
    scales = AV(ConstantScale(), ConstantScale()) if scale is None else AV(scale, scale)
    return JointGuidance(Silent(), discriminator, scales, asking.begin())


def latents(generator):
    return AV(*torch.randn(2, 2, 3, generator=generator))


@pytest.mark.parametrize(("every", "asked"), [(1, 7), (2, 4), (3, 3), (7, 1), (9, 1)])
def test_the_first_of_every_k_evaluations_asks(every, asked, generator):
    discriminator = Product()
    denoiser = guided(ReuseEvery(every), discriminator)
    for step in range(7):
        denoiser.predict_noise(latents(generator), levels(0.9 - step / 10), NONE)
    assert discriminator.calls == asked


def test_a_gradient_that_is_held_is_that_of_its_own_evaluation(generator):
    z, level = latents(generator), levels(0.5)
    held = guided(ReuseEvery(1), Product()).predict_noise(z, level, NONE)
    fresh = guided(ReuseEvery(2), Product()).predict_noise(z, level, NONE)
    assert_close(held.audio, fresh.audio)
    assert_close(held.video, fresh.video)


def test_a_held_gradient_meets_the_noise_of_the_level_at_hand(generator):
    first, second = latents(generator), latents(generator)
    here, there = levels(0.8), levels(0.4)
    denoiser = guided(ReuseEvery(2), Product())
    denoiser.predict_noise(first, here, NONE)
    eps = denoiser.predict_noise(second, there, NONE)
    # ∇h of the first latents, σ of the second level
    assert_close(eps.audio, -float(there.audio.sigma[0]) * first.video)
    assert_close(eps.video, -float(there.video.sigma[0]) * first.audio)


def test_a_held_gradient_is_of_latents_without_units(generator):
    """The same pair in VE units at both levels gives the same guidance."""
    z = latents(generator)

    def with_variance_exploding(level):
        own = NoiseLevel(level.t, torch.ones_like(level.alpha), level.sigma / level.alpha)
        return AV(own, own)

    variance_preserving, exploding = [], []
    for asking, units, found in (
        (ReuseEvery(2).begin(), levels, variance_preserving),
        (ReuseEvery(2).begin(), lambda u: with_variance_exploding(levels(u).audio), exploding),
    ):
        denoiser = JointGuidance(Silent(), Product(), AV(ConstantScale(), ConstantScale()), asking)
        for u in (0.5, 0.3):
            level = units(u)
            magnitude = level.audio.magnitude.float()[:, None]
            found.append(denoiser.predict_noise(z.map(lambda x, m=magnitude: x * m), level, NONE))
    assert_close(exploding[1].audio, variance_preserving[1].audio)


def test_evaluations_outside_the_interval_are_not_counted(generator):
    discriminator = Product()
    low, high = (float(levels(at).audio.log_snr[0]) for at in (0.7, 0.3))
    denoiser = guided(ReuseEvery(2), discriminator, IntervalScale(1.0, low, high))
    for u in (0.9, 0.8, 0.6):
        denoiser.predict_noise(latents(generator), levels(u), NONE)
    assert discriminator.calls == 1


def test_runs_do_not_share_what_is_held(generator):
    asking, discriminator = ReuseEvery(5), Product()
    for _ in range(2):
        guided(asking, discriminator).predict_noise(latents(generator), levels(0.5), NONE)
    assert discriminator.calls == 2


def test_less_than_every_evaluation_is_refused():
    with pytest.raises(UserError, match="1 or more"):
        ReuseEvery(0)


def test_latents_of_the_caller_stay_as_they_were(generator):
    z = latents(generator)
    before = z.map(torch.clone)
    log_ratio_gradient(lambda pair: (pair.audio * pair.video).sum(1), z)
    assert not z.audio.requires_grad
    assert torch.equal(z.audio, before.audio)


def test_gradient_can_be_differentiated_again_when_asked(generator):
    z = latents(generator)
    weight = nn.Parameter(torch.tensor(2.0))
    ratio = log_ratio_gradient(
        lambda pair: weight * (pair.audio * pair.video).sum(1), z, create_graph=True
    )
    ratio.gradient.audio.sum().backward()
    assert_close(weight.grad, z.video.sum())
