import pytest
import torch
from closeness import assert_close
from diffusers import DDPMScheduler

from mmdisco.core.noise import (
    NoiseLevel,
    cosine,
    flow_matching,
    linear,
    scaled_linear,
    variance_exploding,
)

ALL = [
    linear(),
    scaled_linear(),
    cosine(),
    cosine(shift=0.3),
    variance_exploding(),
    flow_matching(),
]


@pytest.mark.parametrize(
    ("ours", "settings"),
    [
        (linear(), {"beta_schedule": "linear"}),
        (
            scaled_linear(),
            {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
        ),
        (cosine(), {"beta_schedule": "squaredcos_cap_v2"}),
    ],
    ids=["linear", "scaled-linear", "cosine"],
)
def test_vp_tables_equal_those_of_diffusers(ours, settings):
    theirs = DDPMScheduler(**settings).alphas_cumprod.double()
    assert_close(ours.alphas.square(), theirs, rtol=2e-4)
    assert_close(ours.alphas.square() + ours.sigmas.square(), torch.ones(1000).double())


@pytest.mark.parametrize("schedule", ALL)
def test_noise_grows_along_the_table(schedule):
    assert (schedule.times.diff() > 0).all()
    assert (schedule.levels().angle.diff() > 0).all()


@pytest.mark.parametrize("schedule", ALL)
def test_time_to_ratio_and_back_is_the_identity(schedule):
    levels = schedule.levels()
    back = schedule.level_at_log_snr(levels.log_snr)
    assert_close(back.t, levels.t, rtol=1e-9)
    assert_close(back.sigma, levels.sigma, rtol=1e-9)


def test_flow_times_between_rows_are_exact():
    level = flow_matching().level(torch.tensor([250.5], dtype=torch.float64))
    assert_close(level.sigma, torch.tensor([0.2505], dtype=torch.float64), rtol=1e-12)
    assert_close(level.alpha + level.sigma, torch.ones(1).double())


def test_shifted_cosine_is_noisier():
    assert (cosine(shift=0.3).sigmas > cosine().sigmas)[:-1].all()


def test_clean_level_changes_nothing():
    x = torch.randn(3, 2)
    level = NoiseLevel.clean(3)
    assert level.is_clean
    assert torch.equal(level.add_noise(x, torch.randn(3, 2)), x)
    assert not level.angle.any()


def test_clean_sample_is_recovered_from_its_noise():
    level = linear().levels()
    x_0, eps = torch.randn(2, 1000, 4, dtype=torch.float64)
    assert_close(level.predict_x0(level.add_noise(x_0, eps), eps), x_0, rtol=1e-8)


def test_vp_units_have_unit_magnitude():
    level = variance_exploding().levels()
    x_0, eps = torch.randn(2, 1000, 64, dtype=torch.float64)
    power = level.to_vp(level.add_noise(x_0, eps)).square().mean()
    assert abs(float(power) - 1) < 0.05
