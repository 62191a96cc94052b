"""Scores of logits, against answers known beforehand."""

import math

import pytest
import torch

from mmdisco.training.diagnostics.scores import (
    accuracy,
    calibration_error,
    cross_entropy,
    ranking,
    reliability,
)


def normal(mean, count, generator):
    return mean + torch.randn(count, generator=generator, dtype=torch.float64)


def test_an_exact_log_ratio_is_calibrated_and_a_doubled_one_is_not(generator):
    # N(1, 1) against N(−1, 1) has the log ratio 2 x
    real, other = normal(1.0, 20_000, generator), normal(-1.0, 20_000, generator)
    assert calibration_error(reliability(2 * real, 2 * other)) < 0.01
    assert calibration_error(reliability(8 * real, 8 * other)) > 0.08


def test_calibration_does_not_depend_on_how_many_there_are_of_each(generator):
    real, other = normal(1.0, 20_000, generator), normal(-1.0, 2_000, generator)
    assert calibration_error(reliability(2 * real, 2 * other)) < 0.02


def test_bins_hold_all_pairs_and_are_averages():
    bins = reliability(torch.tensor([9.0, 9.0, -9.0]), torch.tensor([-9.0]), bins=2)
    assert sum(one.share for one in bins) == pytest.approx(1)
    low, high = bins
    # a third of the real half, and all of the other half
    assert low.real == pytest.approx((1 / 6) / (1 / 6 + 1 / 2))
    assert high.real == 1


def test_accuracy_and_ranking_of_known_normals(generator):
    real, other = normal(1.0, 4_000, generator), normal(-1.0, 4_000, generator)
    assert accuracy(real, other) == pytest.approx(0.8413, rel=0.01)
    assert ranking(real, other) == pytest.approx(0.9214, rel=0.01)


def test_a_silent_network_scores_chance():
    nothing = torch.zeros(5)
    assert ranking(nothing, nothing) == 0.5
    assert cross_entropy(nothing, nothing) == pytest.approx(2 * math.log(2))
