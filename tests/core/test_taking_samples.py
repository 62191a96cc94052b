"""Samples that are picked out of a run midway, histories of their solvers with them."""

import pytest
import torch
from closeness import assert_close, is_close

from mmdisco.adapters.mmdiffusion.sampling import SinglestepDPMSolver
from mmdisco.core.av import AV, each
from mmdisco.core.coupling import SameTimestep
from mmdisco.core.denoiser import Conditioning, JointDenoiser
from mmdisco.core.noise import broadcast_like, linear
from mmdisco.core.rng import NoiseSource, seeded_generator
from mmdisco.core.sampler import Resampling, Sampler
from mmdisco.core.schedulers import SOLVERS, NoOpSolver, adds_noise, ddim, ddpm, solver
from mmdisco.core.strided import StridedDDPM
from mmdisco.errors import UserError

STEPS = 8
TABLE = linear()
LEVELS = TABLE.levels().take(range(999, 0, -125))  # of StridedDDPM too, which strides by 125
EVERY = {
    **{name: solver(name) for name in SOLVERS},
    "ddim, eta 1": ddim(1.0),
    "strided ddpm": StridedDDPM(TABLE),
    "singlestep of order 3": SinglestepDPMSolver(TABLE.levels().take([0])),
    "no step": NoOpSolver(),
}
WITH_HISTORY = ("dpm++2m", "dpm++3m", "sde-dpm++2m", "dpm++2s", "unipc", "singlestep of order 3")
ROWS = [0, 0, 2]


def noise_of(x, level):
    return torch.sin(2 * x + broadcast_like(level.t, x) / 300)


def steps(state, x, draws, part):
    for index in part:
        level = LEVELS.at(index).expand(len(x))
        x = state.step(index, x, noise_of(x, level), draws)
    return x


def generators(*seeds):
    return [seeded_generator(seed, 0) for seed in seeds]


def begun(first, seeds, midway, own):
    """A state after some steps, and its latents."""
    state = own.begin(LEVELS)
    return state, steps(state, first, generators(*seeds), range(midway))


@pytest.mark.parametrize("midway", [3, 4])
@pytest.mark.parametrize("name", EVERY)
def test_taking_rows_midway_is_having_run_them_from_the_beginning(name, midway):
    first = torch.randn(3, 2, 5, generator=seeded_generator(9, 0))
    state, x = begun(first, (1, 2, 3), midway, EVERY[name])
    taken = steps(state.take(ROWS), x[ROWS], generators(4, 5, 6), range(midway, STEPS))
    other, y = begun(first[ROWS], (1, 1, 3), midway, EVERY[name])
    assert_close(taken, steps(other, y, generators(4, 5, 6), range(midway, STEPS)))


@pytest.mark.parametrize("name", WITH_HISTORY)
def test_a_history_of_other_rows_leads_elsewhere(name):
    first = torch.randn(3, 2, 5, generator=seeded_generator(9, 0))
    ends = []
    for picks in (lambda state: state.take(ROWS), lambda state: state):
        state, x = begun(first, (1, 2, 3), 5, EVERY[name])
        ends.append(steps(picks(state), x[ROWS], generators(4, 5, 6), range(5, STEPS)))
    assert not is_close(ends[1], ends[0], rtol=1e-3)


def test_rows_are_taken_again_and_in_another_number():
    first = torch.randn(3, 2, 5, generator=seeded_generator(9, 0))
    state, x = begun(first, (1, 2, 3), 3, solver("dpm++3m"))
    twice = state.take([2, 0]).take([1, 0, 1])
    ends = [
        steps(own, x[[0, 2, 0]], generators(4, 5, 6), range(3, STEPS))
        for own in (twice, state.take([0, 2, 0]))
    ]
    assert_close(*ends)


@pytest.mark.parametrize("name", ["dpm++3m", "unipc", "singlestep of order 3"])
def test_a_state_stays_as_it_is_when_rows_are_taken(name):
    first = torch.randn(3, 2, 5, generator=seeded_generator(9, 0))
    ends = []
    for also in (True, False):
        state, x = begun(first, (1, 2, 3), 4, EVERY[name])
        if also:
            steps(state.take(ROWS), x[ROWS], generators(7, 8, 9), range(4, STEPS))
        ends.append(steps(state, x, generators(4, 5, 6), range(4, STEPS)))
    assert_close(*ends)


def test_solvers_that_add_noise_are_known():
    noisy = {name for name, own in EVERY.items() if adds_noise(own, LEVELS)}
    ancestral = {"ddpm", "ddpm-clip", "euler-ancestral", "ddim, eta 1", "strided ddpm"}
    assert noisy == ancestral | {"sde-dpm++2m"}


class Normal(JointDenoiser):
    """The best denoiser of normal latents."""

    def predict_noise(self, z_t, level, cond):
        return each(lambda x, own: broadcast_like(own.sigma, x) * x, z_t, level)


class FirstOnly(Resampling):
    """Lets the first sample go on alone, after one step."""

    def __init__(self, after):
        self.after = after
        self.asked = []

    def rows(self, step, z_t, level):
        self.asked.append((step, float(level.audio.t[0])))
        return [0] * len(z_t.audio) if step == self.after else None


def run(own, resampling, seeds=(1, 2, 3)):
    sampler = Sampler(SameTimestep(AV(linear(), linear())), AV(own, own), 4)
    noise, shape = NoiseSource.from_seeds(seeds), torch.Size([len(seeds), 2])
    z_T = sampler.initial(noise, AV(shape, shape))
    none = Conditioning.none(len(seeds))
    found = list(sampler.run(Normal(), z_T, AV(none, none), noise, resampling))
    return found, sampler.levels().audio.t.tolist()


def test_copies_are_equal_at_first_and_part_by_the_noise_of_their_places():
    watched = FirstOnly(1)
    found, times = run(ddpm(), watched)
    plain, _ = run(ddpm(), None)
    # asked at the level of arrival, and not after the last step
    assert watched.asked == [(0, times[1]), (1, times[2]), (2, times[3])]
    assert torch.equal(found[0].video, plain[0].video)
    assert torch.equal(found[1].video, plain[1].video[[0, 0, 0]])
    assert torch.equal(found[3].video[0], plain[3].video[0])
    assert not is_close(found[2].video[1], found[2].video[0], rtol=1e-2)


def test_a_run_whose_copies_would_stay_equal_is_refused():
    with pytest.raises(UserError, match="choose a solver that adds some"):
        run(ddim(), FirstOnly(1))
