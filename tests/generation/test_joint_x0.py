"""Units of σ, a pair on the video's table of them, and the logit of a clean pair."""

import pytest
import torch
from closeness import assert_close

from mmdisco import AV, UserError
from mmdisco.discriminators.wrappers import ZeroLogit
from mmdisco.generation.joint_x0 import ExplodingSigma, FlowSigma, JointX0, agreement

FLOW, EXPLODING = FlowSigma(1.0), ExplodingSigma(20.0)


def latent(seed=0):
    return torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("first", "second"), [(FLOW, EXPLODING), (EXPLODING, FLOW)])
def test_other_units_have_the_same_noise_and_the_same_clean_latent(first, second):
    sigma = torch.tensor([0.2, 0.5, 0.9])
    level, x_0, eps = first.level(sigma), latent(1), latent(2)
    x_t, own = first.to(second, level.add_noise(x_0, eps), sigma)
    there = second.level(own)
    assert_close(there.sigma / there.alpha, level.sigma / level.alpha, 1e-6)
    assert_close(x_t, there.add_noise(x_0, eps))
    assert own.dtype == sigma.dtype


def test_pure_noise_of_a_flow_is_the_noisiest_latent_of_another_model():
    sigma = torch.ones(3)
    x_t, own = FLOW.to(EXPLODING, latent(), sigma)
    assert own.tolist() == [20.0] * 3
    assert_close(x_t, latent() * (1 + 20.0**2) ** 0.5)


def test_units_of_one_kind_differ_above_the_largest_sigma_alone():
    x_t, narrow = latent(), ExplodingSigma(5.0)
    low, high = torch.full((3,), 4.0), torch.full((3,), 8.0)
    assert EXPLODING.to(narrow, x_t, low) == (x_t, low)
    scaled, own = EXPLODING.to(narrow, x_t, high)
    assert own.tolist() == [5.0] * 3
    assert_close(scaled, x_t * (26 / 65) ** 0.5)


def test_without_a_change_it_is_what_the_models_predict():
    predict = AV(lambda x, sigma: x * sigma[0], lambda x, sigma: x + sigma[0])
    pair = JointX0(predict, AV(FLOW, FLOW), lambda states: AV(None, None))
    sigma = torch.full((3,), 0.5)
    x_0 = pair(AV(latent(1), latent(2)), sigma)
    assert torch.equal(x_0.audio, latent(1) * 0.5)
    assert torch.equal(x_0.video, latent(2) + 0.5)
    with pytest.raises(UserError, match="both given"):
        JointX0(predict, AV(FLOW, FLOW), lambda states: AV(None, None), AV(latent(), latent()))


def test_pairs_agree_by_the_discriminators_logit():
    text = torch.zeros(3, 2)
    logit = agreement(ZeroLogit(), AV(latent(1), latent(2)), AV(text, text), "pair")
    assert logit.tolist() == [0.0] * 3
