from functools import reduce
from itertools import permutations

import numpy as np
import pytest
from closeness import assert_close
from scipy.linalg import sqrtm

from mmdisco.errors import UserError
from mmdisco.evaluation.metrics.distances import FeatureStatistics, frechet_distance

CLIPS = 40


def features(seed, dimensions=5, clips=CLIPS, least=1.0):
    """Correlated features around a mean of their own; ``least`` is their smallest spread."""
    rng = np.random.default_rng(seed)
    spreads = np.geomspace(least, 1, dimensions)
    independent = spreads * rng.standard_normal((clips, dimensions))
    return independent @ rng.standard_normal((dimensions, dimensions)) + rng.standard_normal()


def statistics(seed, **shape):
    return FeatureStatistics.of(features(seed, **shape))


def gaussian(mean, covariance):
    """Statistics of as many clips as are needed with exactly this mean and covariance."""
    mean, covariance = np.array(mean, float), np.array(covariance, float)
    products = (CLIPS - 1) * covariance + CLIPS * np.outer(mean, mean)
    return FeatureStatistics(CLIPS, CLIPS * mean, products)


def test_mean_and_covariance_are_numpys():
    drawn = features(0)
    found = FeatureStatistics.of(drawn)
    assert_close(found.mean, drawn.mean(0))
    assert_close(found.covariance, np.cov(drawn.T))


def test_single_precision_is_summed_in_double():
    drawn = (features(0) + 1000).astype(np.float32)
    found = FeatureStatistics.of(drawn).covariance
    assert_close(found, np.cov(drawn.astype(np.float64).T))


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_batches_merge_in_any_order(order):
    parts = np.split(features(0), [7, 8])
    merged = reduce(FeatureStatistics.merge, [FeatureStatistics.of(parts[i]) for i in order])
    whole = FeatureStatistics.of(np.concatenate(parts))
    assert merged.count == whole.count
    assert_close(merged.mean, whole.mean)
    assert_close(merged.covariance, whole.covariance)


def test_an_empty_batch_changes_nothing():
    whole = statistics(0)
    merged = whole.merge(FeatureStatistics.of(np.empty((0, 5))))
    assert frechet_distance(merged, statistics(1)) == frechet_distance(whole, statistics(1))


@pytest.mark.parametrize("dimensions", [1, 5, 30])
@pytest.mark.parametrize("least", [1.0, 1e-4])
def test_distance_is_that_of_the_matrix_square_root(dimensions, least):
    first = statistics(0, dimensions=dimensions)
    second = statistics(1, dimensions=dimensions, least=least)
    root = np.asarray(sqrtm(first.covariance @ second.covariance))
    spreads = np.trace(first.covariance + second.covariance - 2 * np.real(root))
    expected = ((first.mean - second.mean) ** 2).sum() + spreads
    trace = np.trace(first.covariance + second.covariance)
    assert_close(frechet_distance(first, second), expected, rtol=1e-6, scale=trace)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (([0, 0], np.eye(2)), ([3, 4], np.eye(2)), 25),
        (([0, 0], np.eye(2)), ([0, 0], 4 * np.eye(2)), 2),
        (([1, 2], np.diag([1, 9])), ([1, 2], np.diag([4, 1])), 5),
        (([0, 0], np.diag([1, 0])), ([0, 0], np.diag([0, 1])), 2),
        (([0, 0], [[2, 1], [1, 2]]), ([1, 0], [[8, 4], [4, 8]]), 5),
    ],
)
def test_distance_of_known_gaussians_is_exact(first, second, expected):
    assert frechet_distance(gaussian(*first), gaussian(*second)) == pytest.approx(expected)


def test_distance_to_itself_is_0():
    scale = np.trace(statistics(0).covariance)
    assert_close(frechet_distance(statistics(0), statistics(0)), 0.0, scale=scale)


def test_distance_is_symmetric():
    there = frechet_distance(statistics(0), statistics(1))
    assert frechet_distance(statistics(1), statistics(0)) == pytest.approx(there)


def test_too_few_clips_are_refused_on_either_side():
    few, enough = statistics(0, clips=5), statistics(1, clips=6)
    assert np.isfinite(frechet_distance(enough, enough))
    for pair in ((few, enough), (enough, few)):
        with pytest.raises(UserError, match="at least 6 clips, not 5"):
            frechet_distance(*pair)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(value):
    drawn = features(0)
    drawn[3, 1] = value
    with pytest.raises(UserError, match="not finite"):
        FeatureStatistics.of(drawn)


@pytest.mark.parametrize("combine", [FeatureStatistics.merge, frechet_distance])
def test_features_of_two_networks_are_not_combined(combine):
    with pytest.raises(ValueError, match="5 and 4 dimensions"):
        combine(statistics(0), statistics(0, dimensions=4))
