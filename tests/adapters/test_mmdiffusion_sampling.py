import numpy as np
import pytest
import torch
from closeness import assert_close

from mmdisco.adapters.mmdiffusion.sampling import (
    AtTrainedTimes,
    ContinuousPath,
    SinglestepDPMSolver,
    orders,
    released_sampler,
)
from mmdisco.core.av import AV
from mmdisco.core.denoiser import Conditioning, JointDenoiser
from mmdisco.core.noise import NoiseLevel, broadcast_like, linear
from mmdisco.core.rng import NoiseSource
from mmdisco.errors import UserError

SCHEDULES = AV(linear(), linear())
SPREAD = 0.05


class Gaussian(JointDenoiser):
    """The exact ε where clean samples are normal with standard deviation ``SPREAD``."""

    def predict_noise(self, z_t, level, cond):
        return AV(exact(z_t.audio, level.audio), exact(z_t.video, level.video))


class Asked(JointDenoiser):
    """Keeps the levels it is asked at."""

    def __init__(self):
        self.levels = []

    def predict_noise(self, z_t, level, cond):
        self.levels.append(level)
        return z_t.map(torch.zeros_like)


def exact(x, level):
    variance = (level.alpha * SPREAD) ** 2 + level.sigma**2
    return x * broadcast_like(level.sigma / variance, x)


def none(count=1):
    return AV(Conditioning.none(count), Conditioning.none(count))


def noise_of(x):
    return AV(x, x.clone())


def test_orders_spend_all_evaluations():
    for evaluations in range(1, 40):
        spent = orders(evaluations)
        assert sum(spent) == evaluations
        assert spent == sorted(spent, reverse=True)
        assert set(spent) <= {1, 2, 3}


def solution(x):
    """Where the probability flow takes x from the first level of the run to its end."""
    ends = ContinuousPath(SCHEDULES).levels(torch.tensor([1.0, 0.0])).audio
    spread = ((ends.alpha * SPREAD) ** 2 + ends.sigma**2).sqrt()
    return x * spread[1] / spread[0]


def test_error_falls_with_the_third_power_of_the_step():
    x = torch.randn(1, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    errors = []
    for evaluations in (41, 83):
        sampler = released_sampler(SCHEDULES, evaluations)
        last = sampler.sample(Gaussian(), noise_of(x), none(), NoiseSource.from_seeds([0])).audio
        errors.append(float((last - solution(x)).abs().max()))
    assert np.log2(errors[0] / errors[1]) > 2.7


def test_predicted_samples_are_bounded_by_their_own_quantile():
    level = NoiseLevel(*torch.tensor([[500.0], [0.8], [0.6]], dtype=torch.float64))
    end = NoiseLevel(*torch.tensor([[0.0], [1.0], [1e-9]], dtype=torch.float64))
    x_0 = torch.cat([torch.linspace(-4, 4, 200), torch.tensor([1000.0])])[None]
    loud = SinglestepDPMSolver(end).begin(level).step(0, 0.8 * x_0, torch.zeros_like(x_0), [])
    assert loud.abs().max() <= 1 + 1e-5
    assert_close(loud[0, 0], torch.tensor(-1.0))
    # the one outlier did not make all others small
    assert loud[0, 150] > 0.4
    quiet = x_0 / 5000
    kept = SinglestepDPMSolver(end).begin(level).step(0, 0.8 * quiet, torch.zeros_like(quiet), [])
    assert_close(kept, quiet)


def test_quantile_is_per_sample():
    level = NoiseLevel(*torch.tensor([[500.0], [0.8], [0.6]], dtype=torch.float64))
    end = NoiseLevel(*torch.tensor([[0.0], [1.0], [1e-9]], dtype=torch.float64))
    x = torch.stack([torch.linspace(-0.5, 0.5, 50), torch.linspace(-9, 9, 50)])
    got = SinglestepDPMSolver(end).begin(level).step(0, 0.8 * x, torch.zeros_like(x), [])
    assert_close(got[0], x[0])


def test_fork_leaves_no_trace():
    levels = ContinuousPath(SCHEDULES).levels(torch.linspace(1, 0.2, 5)).audio
    end = ContinuousPath(SCHEDULES).levels(torch.zeros(1)).audio
    generator = torch.Generator().manual_seed(0)
    x, eps = torch.randn(2, 5, 1, 8, generator=generator)

    def walk(run, *, forking):
        for index in range(5):
            if forking:
                run.copy().step(index, x[index], -eps[index], [])
            last = run.step(index, x[index], eps[index], [])
        return last

    solver = SinglestepDPMSolver(end)
    plain = walk(solver.begin(levels), forking=False)
    assert torch.equal(plain, walk(solver.begin(levels), forking=True))


def test_network_is_asked_at_whole_times():
    asked = Asked()
    x = torch.randn(2, 1, 16)
    sampler = released_sampler(SCHEDULES)
    sampler.sample(
        AtTrainedTimes(asked, SCHEDULES), noise_of(x), none(2), NoiseSource.from_seeds([0])
    )
    told = [level.audio.t[0].item() for level in asked.levels]
    # from the released sampler
    assert told == [
        *(999, 949, 898, 843, 784, 721, 652, 576, 492, 399),
        *(302, 211, 138, 85, 51, 30, 16, 8, 3, 1),
    ]
    row = SCHEDULES.audio.level(torch.tensor([3.0]))
    assert_close(asked.levels[18].audio.sigma[:1], row.sigma)


def test_clean_side_stays_clean_at_trained_times():
    asked = Asked()
    level = SCHEDULES.audio.level(torch.tensor([3.5]))
    x = torch.zeros(1, 4)
    at = AtTrainedTimes(asked, SCHEDULES)
    at.predict_noise(AV(x, x), AV(level, NoiseLevel.clean(1)), none())
    assert asked.levels[0].video.is_clean
    assert asked.levels[0].audio.t == 3


def test_levels_between_rows_preserve_variance():
    level = ContinuousPath(SCHEDULES).levels(torch.linspace(0, 1, 77, dtype=torch.float64)).audio
    assert_close(level.magnitude, torch.ones(77, dtype=torch.float64))
    assert_close(
        level.log_snr.diff().diff(),
        torch.zeros(75, dtype=torch.float64),
        scale=level.log_snr.abs().max(),
    )
    assert_close(level.t[[0, -1]], torch.tensor([0.0, 999.0], dtype=torch.float64))


def test_no_evaluations_are_refused():
    with pytest.raises(UserError, match="0 sampling steps"):
        released_sampler(SCHEDULES, 0).sample(
            Gaussian(), noise_of(torch.zeros(1, 4)), none(), NoiseSource.from_seeds([0])
        )
