from dataclasses import dataclass

import pytest
import torch
from closeness import assert_close, is_close
from torch import nn

from mmdisco.core.av import AV, each
from mmdisco.core.coupling import SameTimestep
from mmdisco.core.denoiser import Conditioning, Denoiser, IndependentDenoisers, JointDenoiser
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.guidance import (
    ClassifierFreeGuidance,
    ConstantScale,
    IntervalScale,
    JointGuidance,
    rescaled,
)
from mmdisco.core.noise import NoiseLevel, linear


class Ignorant(Discriminator):
    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.ones(()))
        self.calls = 0

    def forward(self, z_t, level, text):
        self.calls += 1
        return self.bias.expand(len(z_t.audio))


class Quadratic(Discriminator):
    """h = audio · video + text of the audio · audio."""

    def forward(self, z_t, level, text):
        return (z_t.audio * z_t.video).sum(1) + (text.audio * z_t.audio).sum(1)


class Captioned(JointDenoiser):
    """ε is the caption's vector."""

    def predict_noise(self, z_t, level, cond):
        return cond.map(lambda one: one.pooled)


class Counting(Denoiser):
    def __init__(self):
        self.calls = 0

    @property
    def schedule(self):
        return linear()

    def predict_noise(self, x_t, level, cond):
        self.calls += 1
        return x_t


def levels(u, count=4):
    own = linear()
    return SameTimestep(AV(own, own)).levels(torch.full((count,), u, dtype=torch.float64))


def latents(generator, count=4):
    return AV(*torch.randn(2, count, 3, generator=generator))


def captions(count=4, value=0.0):
    return AV(*[Conditioning(torch.full((count, 3), value))] * 2)


def test_discriminator_that_ignores_its_input_gives_zero_guidance(generator):
    z = latents(generator)
    guided = JointGuidance(Captioned(), Ignorant(), AV(ConstantScale(8.0), ConstantScale(8.0)))
    eps = guided.predict_noise(z, levels(0.5), captions(value=0.3))
    assert torch.equal(eps.audio, torch.full((4, 3), 0.3))
    assert torch.equal(eps.video, torch.full((4, 3), 0.3))


def test_guidance_is_minus_scale_sigma_gradient(generator):
    z, level = latents(generator), levels(0.5)
    guided = JointGuidance(Captioned(), Quadratic(), AV(ConstantScale(1.0), ConstantScale(3.0)))
    eps = guided.predict_noise(z, level, captions())
    sigma = float(level.audio.sigma[0])
    assert_close(eps.audio, -sigma * z.video)
    assert_close(eps.video, -3 * sigma * z.audio)


@pytest.mark.parametrize(("u", "expected"), [(0.2, 0), (0.5, 1), (0.9, 0)])
def test_interval_guides_inside_and_does_not_run_outside(u, expected, generator):
    discriminator = Ignorant()
    low, high = (float(levels(at).audio.log_snr[0]) for at in (0.7, 0.3))
    scale = IntervalScale(2.0, low, high)
    JointGuidance(Captioned(), discriminator, AV(scale, scale)).predict_noise(
        latents(generator), levels(u), captions()
    )
    assert discriminator.calls == expected


def test_classifier_free_outside_guides_base_and_discriminator_alike(generator):
    z, level = latents(generator), levels(0.5)
    inner = JointGuidance(Captioned(), Quadratic(), AV(ConstantScale(), ConstantScale()))
    null = AV(*[Conditioning(torch.zeros(1, 3))] * 2)
    guided = ClassifierFreeGuidance(inner, null, AV(2.5, 7.5))
    got = guided.predict_noise(z, level, captions(value=1.0))
    sigma = float(level.audio.sigma[0])
    # ε: 0 + w (1 − 0); ∇h of the audio: video + caption, so the caption's part is weighted by w too
    assert_close(got.audio, 2.5 - sigma * (z.video + 2.5))
    assert_close(got.video, 7.5 - sigma * z.audio)


def test_classifier_free_scale_one_is_the_denoiser(generator):
    null = AV(*[Conditioning(torch.zeros(1, 3))] * 2)
    z = latents(generator)
    got = ClassifierFreeGuidance(Captioned(), null, AV(1.0, 1.0)).predict_noise(
        z, levels(0.5), captions(value=0.7)
    )
    assert torch.equal(got.audio, torch.full((4, 3), 0.7))


@dataclass(frozen=True)
class Shifting(JointDenoiser):
    """ε = z (1 + caption) + caption², so that captions change mean and spread of it."""

    def predict_noise(self, z_t, level, cond):
        def eps(z, one):
            caption = one.pooled.mean(1, keepdim=True)
            return z * (1 + caption) + caption**2

        return each(eps, z_t, cond)


def guidance(**options):
    null = AV(*[Conditioning(torch.full((1, 3), -0.5))] * 2)
    return ClassifierFreeGuidance(Shifting(), null, AV(2.5, 7.5), **options)


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("phi", [0.3, 1.0])
def test_guided_noise_is_rescaled_as_in_the_paper(phi, batched, generator):
    z, level, cond = latents(generator), levels(0.5), captions(value=1.5)
    plain = guidance().predict_noise(z, level, cond)
    positive = Shifting().predict_noise(z, level, cond)
    got = guidance(rescale=phi, batched=batched).predict_noise(z, level, cond)
    for own, guided, one in (
        (got.audio, plain.audio, positive.audio),
        (got.video, plain.video, positive.video),
    ):
        for row in range(len(own)):
            factor = one[row].std() / guided[row].std()
            assert not is_close(factor, 1.0, rtol=0.1)
            assert_close(own[row], phi * guided[row] * factor + (1 - phi) * guided[row])


@pytest.mark.parametrize("batched", [False, True])
def test_no_rescaling_is_the_same_to_the_bit(batched, generator):
    z, level, cond = latents(generator), levels(0.5), captions(value=1.5)
    plain = guidance(batched=batched).predict_noise(z, level, cond)
    none = guidance(batched=batched, rescale=0.0).predict_noise(z, level, cond)
    assert torch.equal(plain.audio, none.audio)
    assert torch.equal(plain.video, none.video)


def test_a_constant_prediction_is_not_rescaled():
    constant = torch.full((2, 3), 4.0)
    assert torch.equal(rescaled(constant, torch.zeros(2, 3), 1.0), constant)


def test_base_of_a_clean_side_is_not_run(generator):
    bases = AV(Counting(), Counting())
    level = AV(levels(0.5).audio, NoiseLevel.clean(4))
    eps = IndependentDenoisers(bases).predict_noise(latents(generator), level, captions())
    assert (bases.audio.calls, bases.video.calls) == (1, 0)
    assert not eps.video.any()
