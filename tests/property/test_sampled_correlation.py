"""Sampling with the exact log ratio gives the joint's own correlation."""

import pytest
import torch

from mmdisco.core.av import AV, each
from mmdisco.core.coupling import SameLogSNR, SameTimestep
from mmdisco.core.denoiser import Conditioning, IndependentDenoisers
from mmdisco.core.guidance import ConstantScale, JointGuidance
from mmdisco.core.noise import broadcast_like, cosine, flow_matching, linear, variance_exploding
from mmdisco.core.rng import NoiseSource
from mmdisco.core.sampler import LinspaceSpacing, LogSNRSpacing, Sampler
from mmdisco.core.schedulers import ddim, euler, flow_euler, solver
from mmdisco.experiments.toy.mixture import gaussian
from mmdisco.experiments.toy.problems import ExactLogRatio, MixtureDenoiser, in_distribution

COVARIANCE = [[2.25, 0.81], [0.81, 0.36]]  # deviations 1.5 and 0.6, correlation 0.9
SCHEDULES = {
    "linear": linear(),
    "cosine": cosine(),
    "ve": variance_exploding(),
    "flow": flow_matching(),
}


def sampled_covariance(path, solvers, *, steps, count=2000, resamples=0, grid=None):
    joint = gaussian(COVARIANCE)
    bases = in_distribution(joint)
    pair = IndependentDenoisers(bases.map(lambda law: MixtureDenoiser(law, linear())))
    denoiser = JointGuidance(
        pair, ExactLogRatio(joint, bases), AV(ConstantScale(), ConstantScale())
    )
    sampler = Sampler(path, solvers, steps, grid or LinspaceSpacing(), resamples)
    noise = NoiseSource.from_seeds([0])
    shape = torch.Size([count, 1])
    # noise of exactly unit covariance: the whole run is linear, so no sampling error is left
    eps = whitened(noise.draw(AV(shape, shape), torch.float64))
    first = path.levels(torch.ones(count, dtype=torch.float64))
    z = each(lambda x, level: broadcast_like(level.magnitude, x) * x, eps, first)
    cond = AV(Conditioning.none(count), Conditioning.none(count))
    z = sampler.sample(denoiser, z, cond, noise)
    return torch.cov(torch.cat([z.audio, z.video], dim=1).double().T)


def whitened(eps):
    both = torch.cat([eps.audio, eps.video], dim=1)
    both = both - both.mean(dim=0)
    both = both @ torch.linalg.cholesky(torch.linalg.inv(torch.cov(both.T)))
    return AV(both[:, :1], both[:, 1:])


def correlation(covariance):
    return float(covariance[0, 1] / (covariance[0, 0] * covariance[1, 1]).sqrt())


@pytest.mark.parametrize(
    ("audio", "video", "kind"),
    [
        ("linear", "linear", SameTimestep),
        ("cosine", "cosine", SameTimestep),
        ("ve", "ve", SameTimestep),
        ("flow", "flow", SameTimestep),
        ("linear", "cosine", SameTimestep),
        ("linear", "flow", SameTimestep),
        ("cosine", "ve", SameLogSNR),
        ("linear", "flow", SameLogSNR),
        ("ve", "flow", SameLogSNR),
    ],
)
def test_ever_smaller_steps_sample_the_true_correlation(audio, video, kind):
    path = kind(AV(SCHEDULES[audio], SCHEDULES[video]))
    coarse, fine = (
        sampled_covariance(path, AV(ddim(), ddim()), steps=steps, count=64) for steps in (50, 100)
    )
    # the error of DDIM is in proportion to the step: what is left at none
    covariance = 2 * fine - coarse
    assert abs(correlation(covariance) - 0.9) < 0.002
    assert abs(float(covariance[0, 0]) ** 0.5 - 1.5) < 0.003
    assert abs(float(covariance[1, 1]) ** 0.5 - 0.6) < 0.002


def test_each_side_may_use_a_solver_of_its_own():
    path = SameTimestep(AV(linear(), flow_matching()))
    covariance = sampled_covariance(path, AV(euler(), flow_euler()), steps=500, count=64)
    assert abs(correlation(covariance) - 0.9) < 0.01


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("ddim", 200),
        ("euler", 200),
        ("flow-euler", 200),
        ("dpm++2m", 50),
        ("dpm++3m", 50),
        ("dpm++2s", 50),
        ("unipc", 50),
    ],
)
def test_every_deterministic_solver_reaches_the_joint(name, steps):
    path = SameLogSNR(AV(linear(), cosine()))
    own = AV(solver(name), solver(name))
    covariance = sampled_covariance(path, own, steps=steps, count=64, grid=LogSNRSpacing())
    assert abs(correlation(covariance) - 0.9) < 0.01


@pytest.mark.parametrize("name", ["ddpm", "euler-ancestral"])
def test_solvers_that_add_noise_reach_the_joint(name):
    path = SameTimestep(AV(linear(), linear()))
    covariance = sampled_covariance(path, AV(solver(name), solver(name)), steps=200, count=4000)
    assert abs(correlation(covariance) - 0.9) < 0.02


@pytest.mark.parametrize("name", ["ddim", "dpm++2m", "euler"])
def test_corrections_keep_the_joint(name):
    path = SameTimestep(AV(linear(), linear()))
    covariance = sampled_covariance(
        path,
        AV(solver(name), solver(name)),
        steps=60,
        count=4000,
        resamples=1,
        grid=LogSNRSpacing(),
    )
    assert abs(correlation(covariance) - 0.9) < 0.02
    assert abs(float(covariance[0, 0]) ** 0.5 - 1.5) < 0.06


def test_error_of_ddim_halves_with_the_step():
    path = SameTimestep(AV(flow_matching(), flow_matching()))
    true = torch.tensor(COVARIANCE).double()
    errors = [
        float((sampled_covariance(path, AV(ddim(), ddim()), steps=n, count=64) - true).norm())
        for n in (100, 200)
    ]
    assert 1.7 < errors[0] / errors[1] < 2.3
