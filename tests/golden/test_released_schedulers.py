"""Steps of DDPM, and back, against the release's scheduler; see data/released/README.md."""

import pytest
import torch
from closeness import assert_close
from diffusers.schedulers import scheduling_ddpm
from recordings import FOLDER, record_of, recordings, schedule_of, whole
from safetensors.torch import load_file

from mmdisco.core import sampler
from mmdisco.core.av import AV
from mmdisco.core.coupling import SameTimestep
from mmdisco.core.strided import StridedDDPM
from mmdisco.generation.presets.official_release import ReleasedTime, TrailingSpacing


class Case:
    def __init__(self, name):
        record = record_of(name)
        self.config = record["config"]
        self.steps = record["num_inference_steps"]
        self.tensors = load_file(FOLDER / f"{name}.safetensors")
        self.schedule = schedule_of(self.config)
        self.levels = self.schedule.level(whole(self.tensors["timesteps"]))
        self.solver = StridedDDPM(self.schedule, self.config.get("clip_sample", True))

    def of_each(self, prefix):
        """Index of the step, and the tensors of one sample of the batch."""
        times = self.tensors[f"{prefix}.timesteps"]
        own = {k: v for k, v in self.tensors.items() if k.startswith(f"{prefix}.")}
        for sample, t in enumerate(times.tolist()):
            index = self.tensors["timesteps"].tolist().index(t)
            yield index, {k.split(".")[1]: v[sample : sample + 1] for k, v in own.items()}


@pytest.fixture(scope="module", params=recordings("sched_"))
def case(request):
    return Case(request.param)


def close(got, expected):
    assert_close(got, expected, rtol=1e-4)


def test_table_is_that_of_the_release(case):
    close(case.schedule.alphas.square().float(), case.tensors["alphas_cumprod"])


def test_timesteps_are_those_of_the_release(case):
    grids = {
        "leading": ReleasedTime(case.config.get("steps_offset", 0)),
        "trailing": TrailingSpacing(),
    }
    grid = grids[case.config.get("timestep_spacing", "leading")]
    path = SameTimestep(AV(case.schedule, case.schedule))
    times = path.levels(grid.stops(path, case.steps)).audio.t
    assert_close(times.round().long(), case.tensors["timesteps"])
    assert_close(times, times.round(), scale=len(case.schedule.times))


def test_a_step_is_that_of_the_release(case, monkeypatch):
    drawn = {}
    monkeypatch.setattr(scheduling_ddpm, "randn_tensor", lambda *_, **__: drawn["noise"])
    for index, own in case.of_each("step"):
        drawn["noise"] = own["noise"]
        run = case.solver.begin(case.levels)
        got = run.step(index, own["sample"], own["model_output"], [torch.Generator()])
        close(got, own["prev_sample"])


def test_a_step_ends_where_that_of_the_release_does(case):
    run = case.solver.begin(case.levels)
    timesteps = case.tensors["timesteps"].tolist()
    pairs = zip(case.tensors["step.timesteps"], case.tensors["previous_timestep"], strict=True)
    for t, previous in pairs:
        arrival = run.arrival(case.levels, timesteps.index(int(t)))
        assert arrival.is_clean if previous < 0 else float(arrival.t) == float(previous)


def test_a_step_back_is_that_of_the_release(case, monkeypatch):
    drawn = {}
    monkeypatch.setattr(sampler, "randn_tensor", lambda *_: drawn["noise"])
    run = case.solver.begin(case.levels)
    for index, own in case.of_each("rev_step"):
        drawn["noise"] = own["noise"]
        here, there = case.levels.at(index), run.arrival(case.levels, index)
        close(sampler._noise_back(own["sample"], there, here, []), own["out"])


def test_noise_is_added_as_by_the_release(case):
    level = case.schedule.level(whole(case.tensors["step.timesteps"]))
    clean, noise = case.tensors["step.sample"], case.tensors["step.model_output"]
    close(level.add_noise(clean, noise), case.tensors["add_noise.out"])
