from typing import get_args

import pytest
import torch
from closeness import assert_close, is_close
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
)

from mmdisco.core.av import AV
from mmdisco.core.coupling import SameTimestep
from mmdisco.core.denoiser import Conditioning, IndependentDenoisers, JointDenoiser
from mmdisco.core.guidance import ConstantScale, JointGuidance
from mmdisco.core.noise import broadcast_like, cosine, flow_matching, linear
from mmdisco.core.rng import NoiseSource
from mmdisco.core.sampler import LinspaceSpacing, LogSNRSpacing, Sampler
from mmdisco.core.schedulers import SOLVERS, FlowSolver, VESolver, VPSolver, ddim, solver
from mmdisco.errors import UserError
from mmdisco.experiments.toy.problems import ExactLogRatio, MixtureDenoiser, problem
from mmdisco.generation.config import SchedulerName


class Dummy(JointDenoiser):
    """A smooth function of latent and time, the same for both sides."""

    def predict_noise(self, z_t, level, cond):
        return AV(f(z_t.audio, level.audio.t), f(z_t.video, level.video.t))


def f(x, t):
    return torch.sin(2 * x + t.to(x.dtype).reshape(-1, 1) / 300)


def path(schedule=None):
    own = schedule or linear()
    return SameTimestep(AV(own, own))


def none(count):
    return AV(Conditioning.none(count), Conditioning.none(count))


def run(sampler, denoiser, seeds, width=2, start=None):
    noise = NoiseSource.from_seeds(seeds)
    shape = torch.Size([len(seeds), width])
    z = sampler.initial(noise, AV(shape, shape))
    return sampler.sample(denoiser, start or z, none(len(seeds)), noise)


def guided(name="moons"):
    goal = problem(name, "ind")
    base = IndependentDenoisers(goal.bases.map(lambda law: MixtureDenoiser(law, linear())))
    ratio = ExactLogRatio(goal.joint, goal.bases)
    return JointGuidance(base, ratio, AV(ConstantScale(), ConstantScale()))


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        (VPSolver(EulerDiscreteScheduler()), "give it to VESolver"),
        (VPSolver(FlowMatchEulerDiscreteScheduler()), "give it to FlowSolver"),
        (VESolver(DDIMScheduler()), "give it to VPSolver"),
        (FlowSolver(EulerDiscreteScheduler()), "give it to VESolver"),
    ],
)
def test_a_scheduler_in_the_wrong_wrapper_is_refused(wrong, right):
    with pytest.raises(UserError, match=right):
        wrong.begin(linear().levels().take([999, 500, 0]))


@pytest.mark.parametrize(
    ("ours", "theirs", "tolerance"),
    [
        (
            VPSolver(DDIMScheduler(clip_sample=False)),
            DDIMScheduler(beta_end=0.02, clip_sample=False, timestep_spacing="leading"),
            1e-3,
        ),
        (
            VESolver(EulerDiscreteScheduler()),
            EulerDiscreteScheduler(timestep_spacing="leading", steps_offset=0),
            1e-3,
        ),
    ],
    ids=["ddim", "euler"],
)
def test_solver_on_a_table_equals_the_scheduler_on_its_own(ours, theirs, tolerance):
    # rows 0, 20, … 980 of a table of 1000: the leading grid of 50 steps on a path of 1000 rows
    own = linear()
    rows = type(own)(own.times[:981], own.alphas[:981], own.sigmas[:981])
    sampler = Sampler(path(rows), AV(ours, ours), 50, LinspaceSpacing())
    x = torch.randn(4, 2, generator=torch.Generator().manual_seed(1))
    got = sampler.sample(Dummy(), AV(x, x), none(4), NoiseSource.from_seeds([0])).audio
    theirs.set_timesteps(50)
    # the same VP latent in the scheduler's own units
    y = x * (theirs.sigmas[0] ** 2 + 1) ** 0.5 if hasattr(theirs, "sigmas") else x
    for t in theirs.timesteps:
        scaled = theirs.scale_model_input(y, t)
        y = theirs.step(f(scaled, t.reshape(1)), t, y).prev_sample
    assert_close(got, y, rtol=tolerance)


def test_flow_solver_equals_the_scheduler_on_its_own():
    schedule = flow_matching()
    sampler = Sampler(path(schedule), AV(*[FlowSolver(FlowMatchEulerDiscreteScheduler())] * 2), 40)
    x = torch.randn(4, 2, generator=torch.Generator().manual_seed(1))
    got = sampler.sample(Dummy(), AV(x, x), none(4), NoiseSource.from_seeds([0])).audio
    levels = path(schedule).levels(LinspaceSpacing().stops(path(), 40)).audio
    theirs = FlowMatchEulerDiscreteScheduler()
    theirs.set_timesteps(sigmas=levels.sigma.tolist())
    y = x
    for t, sigma in zip(theirs.timesteps, levels.sigma, strict=True):
        velocity = (f(y, t.reshape(1)) - y) / (1 - float(sigma))
        y = theirs.step(velocity, t, y, return_dict=False)[0]
    assert_close(got, y, rtol=1e-4)


@pytest.mark.parametrize("name", SOLVERS)
def test_sample_depends_neither_on_batch_mates_nor_on_batch_size(name):
    sampler = Sampler(path(), AV(solver(name), solver(name)), 8, resamples=1)
    alone = run(sampler, guided(), [5], width=1)
    among = run(sampler, guided(), [3, 5, 9], width=1)
    assert_close(among.audio[1:2], alone.audio, rtol=1e-4)
    assert_close(among.video[1:2], alone.video, rtol=1e-4)


@pytest.mark.parametrize("name", SOLVERS)
def test_seed_changes_the_sample_and_repeats_it(name):
    sampler = Sampler(path(), AV(solver(name), solver(name)), 6)
    first, again, other = (run(sampler, guided(), [seed], width=1) for seed in (1, 1, 2))
    assert torch.equal(first.audio, again.audio)
    assert not torch.equal(first.audio, other.audio)


class Knowing(JointDenoiser):
    """A denoiser that always sees x_0 = 0.5."""

    def predict_noise(self, z_t, level, cond):
        def eps(x, at):
            return (x - 0.5 * broadcast_like(at.alpha, x)) / broadcast_like(at.sigma, x)

        return AV(eps(z_t.audio, level.audio), eps(z_t.video, level.video))


@pytest.mark.parametrize("name", [name for name in SOLVERS if name != "flow-euler"])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_few_steps_from_hardly_any_signal_end_at_the_known_sample(name, steps):
    sampler = Sampler(path(cosine(shift=0.15)), AV(solver(name), solver(name)), steps)
    z_0 = run(sampler, Knowing(), [0])
    assert_close(z_0.audio, torch.full_like(z_0.audio, 0.5), rtol=1e-2)


def test_modalities_draw_unrelated_noise():
    shape = torch.Size([2000, 1])
    eps = NoiseSource.from_seeds([0]).draw(AV(shape, shape))
    assert abs(float((eps.audio * eps.video).mean())) < 0.08


def test_run_yields_every_step_and_ends_clean():
    sampler = Sampler(path(), AV(ddim(), ddim()), 7)
    noise = NoiseSource.from_seeds([0])
    shape = torch.Size([1, 1])
    z = sampler.initial(noise, AV(shape, shape))
    assert len(list(sampler.run(guided(), z, none(1), noise))) == 7


def test_given_side_is_held():
    goal = problem("gaussian", "ind")
    sampler = Sampler(path(), AV(ddim(), ddim()), 25).given_video()
    noise = NoiseSource.from_seeds([0])
    given = torch.linspace(-2, 2, 500)[:, None]
    z = sampler.initial(noise, AV(given.shape, given.shape))
    base = IndependentDenoisers(goal.bases.map(lambda law: MixtureDenoiser(law, linear())))
    ratio = ExactLogRatio(goal.joint, goal.bases)
    denoiser = JointGuidance(base, ratio, AV(ConstantScale(), ConstantScale()))
    z = sampler.sample(denoiser, AV(z.audio, given), none(500), noise)
    assert torch.equal(z.video, given)
    # x given y is N(0.9 y, 0.19)
    residual = z.audio - 0.9 * given
    assert abs(float(residual.mean())) < 0.06
    assert abs(float(residual.std()) - 0.19**0.5) < 0.05


def test_log_snr_grid_is_even_in_log_snr():
    stops = LogSNRSpacing().stops(path(), 20)
    gaps = path().levels(stops).audio.log_snr.diff()
    assert_close(gaps, gaps.mean().expand(19), rtol=0.02)


def test_grid_of_a_one_sided_run_follows_the_noisy_side():
    sampler = Sampler(path(), AV(ddim(), ddim()), 5, LogSNRSpacing()).given_audio()
    assert_close(LogSNRSpacing().stops(sampler.path, 5), LogSNRSpacing().stops(path(), 5))


@pytest.mark.parametrize("steps", [0, -3])
def test_fewer_than_one_step_is_refused(steps):
    with pytest.raises(UserError, match="at least 1"):
        run(Sampler(path(), AV(ddim(), ddim()), steps), guided(), [0], width=1)


def test_scheduler_with_two_evaluations_a_step_is_refused():
    two = VESolver(HeunDiscreteScheduler())
    with pytest.raises(UserError, match="one evaluation a step"):
        run(Sampler(path(), AV(two, two), 5), guided(), [0], width=1)


def test_configuration_of_a_scheduler_counts():
    first = VPSolver(DPMSolverMultistepScheduler(solver_order=1))
    second = VPSolver(DPMSolverMultistepScheduler(solver_order=2))
    one, two = (
        run(Sampler(path(), AV(own, own), 10), guided(), [0], width=1) for own in (first, second)
    )
    assert not is_close(one.audio, two.audio, rtol=1e-3)


def test_first_order_dpm_solver_is_ddim():
    first = VPSolver(DPMSolverMultistepScheduler(solver_order=1))
    one, two = (
        run(Sampler(path(), AV(own, own), 20), guided(), [0, 1], width=1) for own in (first, ddim())
    )
    assert_close(one.audio, two.audio, rtol=1e-3)


def test_ddim_with_full_noise_is_ddpm():
    eta, ancestral = ddim(1.0), VPSolver(DDPMScheduler(clip_sample=False))
    one, two = (
        run(Sampler(path(), AV(own, own), 20), guided(), [0, 1], width=1)
        for own in (eta, ancestral)
    )
    assert_close(one.audio, two.audio, rtol=1e-3)


def test_names_that_need_no_library_are_those_of_the_table():
    assert tuple(SOLVERS) == get_args(SchedulerName)


def test_unknown_scheduler_is_refused():
    with pytest.raises(UserError, match="unknown scheduler 'magic': choose one of"):
        solver("magic")
