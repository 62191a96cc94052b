import numpy as np
import pytest
from closeness import assert_close
from scipy.linalg import sqrtm

from mmdisco.evaluation.metrics.base import EvaluationData
from mmdisco.evaluation.metrics.distances import (
    FeatureStatistics,
    KernelSums,
    frechet_distance,
    kernel_jackknife,
)
from mmdisco.evaluation.metrics.features import InMemory
from mmdisco.evaluation.metrics.fidelity import FrechetDistance, frechet_jackknife, grouped
from mmdisco.evaluation.metrics.result import GROUPS, Jackknife, MetricResult, Skipped


def distance_of(first, second):
    return KernelSums.of(first, second, 1).distance()


def features(count, dimensions=4, shift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(shift, 1, (count, dimensions)).astype(np.float32)


def readings(rows):
    names = [str(k) for k in range(len(rows))]
    return InMemory(names, {"f": [{"features": row} for row in rows]})


def direct(x, y):
    """Bińkowski et al. 2018, eq. 4, one pair at a time."""

    def k(a, b):
        return (float(a @ b) / len(a) + 1) ** 3

    x, y = x.astype(np.float64), y.astype(np.float64)
    n, m = len(x), len(y)
    xx = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    xy = sum(k(a, b) for a in x for b in y) / (n * m)
    return xx + yy - 2 * xy


def test_kernel_distance_is_its_definition():
    x, y = features(9), features(7, shift=0.5, seed=1)
    assert distance_of(x, y) == pytest.approx(direct(x, y), rel=1e-9)


def test_kernel_distance_does_not_depend_on_blocks():
    x, y = features(600), features(530, shift=0.5, seed=1)
    rows = np.concatenate([x[300:], x[:300]])
    assert distance_of(x, y) == pytest.approx(distance_of(rows, y), rel=1e-9)


def test_kernel_distance_is_unbiased_over_1000_draws():
    draws = np.array(
        [
            distance_of(features(8, 3, seed=2 * k), features(8, 3, seed=2 * k + 1))
            for k in range(1000)
        ]
    )
    error = draws.std() / np.sqrt(len(draws))
    assert abs(draws.mean()) < 3 * error
    # the biased estimate, with each clip against itself, would be far outside
    assert error < 0.1


def test_kernel_distance_without_a_group_is_that_of_the_other_clips():
    x, y = features(60), features(80, shift=0.3, seed=1)
    keep = [np.arange(len(one)) % GROUPS != 3 for one in (x, y)]
    from mmdisco.evaluation.metrics.distances import KernelSums

    assert KernelSums.of(x, y).distance(3) == pytest.approx(
        distance_of(x[keep[0]], y[keep[1]]), rel=1e-9
    )


def test_kernel_interval_covers_the_truth_about_as_often_as_it_says():
    inside = 0
    for k in range(60):
        found = kernel_jackknife(features(60, 3, seed=2 * k), features(60, 3, seed=2 * k + 1))
        inside += found.interval.low <= 0 <= found.interval.high
    assert inside >= 50


def test_frechet_distance_equals_scipys_square_root():
    mix = np.random.default_rng(5).normal(size=(12, 12))
    x, y = features(300, 12) @ mix, features(200, 12, shift=0.4, seed=1) @ mix.T
    a, b = np.cov(x.T), np.cov(y.T)
    between = x.mean(0) - y.mean(0)
    expected = between @ between + np.trace(a + b - 2 * np.real(sqrtm(a @ b)))
    found = frechet_distance(FeatureStatistics.of(x), FeatureStatistics.of(y))
    assert found == pytest.approx(expected, rel=1e-6)


def test_extrapolation_removes_the_small_sample_bias_of_frechet_distances():
    plain, extrapolated = [], []
    for k in range(20):
        pair = [readings(features(120, 8, seed=2 * k + one)) for one in (0, 1)]
        found = frechet_jackknife(*(grouped(one, "f") for one in pair))
        plain.append(found.value)
        extrapolated.append(found.extrapolated)
    assert np.mean(plain) > 0.2  # the truth is 0
    assert abs(np.mean(extrapolated)) < 0.1 * np.mean(plain)


def test_extrapolation_keeps_a_known_distance():
    pair = [readings(features(2000, 4)), readings(features(2000, 4, shift=1.0, seed=1))]
    found = frechet_jackknife(*(grouped(one, "f") for one in pair))
    assert found.extrapolated == pytest.approx(4.0, rel=3 * found.error / 4)
    assert found.error < 0.2


def test_groups_of_a_stream_do_not_depend_on_its_batches():
    rows = features(300)
    whole = grouped(readings(rows), "f")
    expected = FeatureStatistics.of(rows[7::GROUPS])
    assert_close(whole[7].products, expected.products, rtol=1e-9)
    assert sum(one.count for one in whole) == 300


def test_too_few_clips_for_a_covariance_are_said_not_computed():
    sets = EvaluationData(readings(features(30, 40)), readings(features(500, 40, seed=1)))
    (found,) = FrechetDistance("f").measure(sets)
    assert isinstance(found, Skipped)
    assert "clips in each folder for 40 features, not 30" in found.needs


def test_no_reference_is_said():
    (found,) = FrechetDistance("f").measure(EvaluationData(readings(features(100))))
    assert isinstance(found, Skipped)
    assert "--reference" in found.needs


def test_frechet_gives_a_plain_and_an_extrapolated_figure():
    sets = EvaluationData(readings(features(100)), readings(features(90, seed=1)))
    plain, extrapolated = FrechetDistance("f").measure(sets)
    assert isinstance(plain, MetricResult)
    assert isinstance(extrapolated, MetricResult)
    assert plain.count == 100
    assert plain.baseline == {"reference clips": 90.0}
    assert extrapolated.value < plain.value


def test_jackknife_of_a_mean_has_the_textbook_error():
    rows = np.random.default_rng(0).normal(size=GROUPS)
    left = [float(np.delete(rows, k).mean()) for k in range(GROUPS)]
    found = Jackknife.of(float(rows.mean()), left)
    assert found.extrapolated == pytest.approx(rows.mean())
    assert found.error == pytest.approx(rows.std(ddof=1) / np.sqrt(GROUPS))
