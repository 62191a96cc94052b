"""Accounts of the parts of a step."""

import time

import pytest
import torch

from mmdisco.core.av import AV
from mmdisco.experiments.benchmark.measure import Measured
from mmdisco.experiments.benchmark.profiler import Cost, Profiler, peak_bytes, reset_peak

CPU = torch.device("cpu")


@pytest.fixture
def counted():
    """A ledger and a way to spend operations."""
    spent = [0]

    def spend(operations):
        spent[0] += operations

    return Profiler(CPU, lambda: spent[0]), spend


def test_what_an_inner_part_costs_is_not_the_outer_ones(counted):
    ledger, spend = counted
    with ledger.part("outer"):
        spend(1)
        with ledger.part("inner"):
            spend(10)
        spend(100)
    costs = ledger.close()
    assert {name: cost.flops for name, cost in costs.items()} == {"outer": 101, "inner": 10}


def test_what_is_spent_outside_is_nobodys(counted):
    ledger, spend = counted
    spend(1)
    with ledger.part("part"):
        spend(10)
    spend(100)
    with ledger.part("part"):
        spend(1000)
    (cost,) = ledger.close().values()
    assert (cost.flops, cost.runs) == (1010, 2)


def test_time_is_booked_where_it_passes(counted):
    ledger, _ = counted
    begin = time.perf_counter()
    with ledger.part("outer"), ledger.part("inner"):
        before = time.process_time()
        time.sleep(0.05)
        busy = time.process_time() - before
    whole = time.perf_counter() - begin
    costs = ledger.close()
    # whatever else the machine does: asleep, the process was not on it
    assert costs["inner"].seconds >= 0.05
    assert busy <= costs["inner"].cpu_seconds < costs["inner"].seconds
    assert costs["outer"].seconds <= whole - costs["inner"].seconds


def test_a_closed_ledger_begins_anew(counted):
    ledger, spend = counted
    with ledger.part("part"):
        spend(1)
    ledger.close()
    assert ledger.close() == {}


def test_a_part_that_fails_leaves_the_ledger_usable(counted):
    ledger, spend = counted
    with pytest.raises(ValueError, match="broken"), ledger.part("outer"), ledger.part("inner"):
        raise ValueError("broken")
    with ledger.part("outer"):
        spend(1)
    assert ledger.close()["outer"].flops == 1


def test_the_peak_is_that_of_the_part_which_held_the_memory(counted):
    device = torch.device("cpu")
    reset_peak(device)
    if peak_bytes(device) == 0:
        pytest.skip("the system tells no high-water mark")
    ledger, _ = counted
    with ledger.part("large"):
        torch.ones(50_000_000).sum()  # 200 MB, gone at once
    with ledger.part("small"):
        torch.ones(10).sum()
    costs = ledger.close()
    assert costs["large"].peak_bytes > costs["small"].peak_bytes + 100_000_000


def step(audio, video, discriminator):
    costs = {"audio base": audio, "video base": video, "discriminator": discriminator}
    return {name: Cost(2, float(own), float(own), own, own) for name, own in costs.items()}


def test_a_ratio_is_of_one_step_and_the_median_of_all():
    # the machine slows down tenfold on the way: the ratios of the steps are 0.1, 0.1 and 0.4
    steps = (step(4, 6, 1), step(40, 60, 10), step(4, 6, 4))
    measured = Measured(AV((1,), (1,)), {}, step(1, 1, 1), steps)
    assert measured.ratios["seconds"] == pytest.approx(0.1)
    assert measured.ratios["flops"] == pytest.approx(0.5)
    assert measured.share("discriminator") == pytest.approx(1 / 11)


def test_a_cost_is_the_median_time_the_first_count_and_the_highest_peak():
    steps = (step(4, 6, 1), step(40, 60, 10), step(4, 6, 4))
    measured = Measured(AV((1,), (1,)), {}, step(7, 1, 1), steps)
    assert measured.cost("audio base") == Cost(2, 4.0, 4.0, 7, 40)
    assert measured.peak_bytes == 60
