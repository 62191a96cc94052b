import numpy as np
import pytest
from closeness import assert_close

from mmdisco.evaluation.metrics.base import EvaluationData
from mmdisco.evaluation.metrics.distances import FeatureStatistics, Whitening
from mmdisco.evaluation.metrics.features import InMemory, Readings
from mmdisco.evaluation.metrics.fidelity import FrechetDistance, frechet_jackknife, grouped
from mmdisco.evaluation.metrics.result import GROUPS, MetricResult
from mmdisco.evaluation.registry import suite

MIX = np.array([[50.0, 49.9, 0.0], [0.0, 0.1, 0.0], [0.0, 0.0, 1e-3]])


def features(clips, seed=0, dimensions=3):
    return np.random.default_rng(seed).normal(size=(clips, dimensions))


def readings(rows) -> Readings:
    names = [f"{k:05}" for k in range(len(rows))]
    return InMemory(names, {"f": [{"features": row.astype(np.float32)} for row in rows]})


def test_statistics_are_mapped_as_the_features_would_be():
    rows, other = features(40) @ MIX + 7, features(30, 1) @ MIX - 2
    coordinates = Whitening().of(FeatureStatistics.of(rows))
    mapped = FeatureStatistics.of((other - coordinates.origin) @ coordinates.axes)
    found = coordinates(FeatureStatistics.of(other))
    assert found.count == 30
    assert_close(found.mean, mapped.mean)
    assert_close(found.covariance, mapped.covariance)


def test_the_reference_is_white_but_for_the_ridge():
    rows = FeatureStatistics.of(features(4000) @ np.diag([4.0, 2.0, 2.0]) + 5)
    for ridge in (0.0, 0.5):  # of a mean variance of 8
        white = Whitening(ridge).of(rows)(rows)
        assert_close(white.mean, np.zeros_like(white.mean), scale=1)
        expected = [4 / (4 + 8 * ridge), 4 / (4 + 8 * ridge), 16 / (16 + 8 * ridge)]
        assert_close(white.covariance, np.diag(expected), rtol=0.03)


def test_the_unit_and_the_axes_of_features_do_not_matter():
    rows, other = features(200), features(200, 1) + np.array([0.3, 0, 0])
    turn = np.linalg.qr(features(3, 7))[0]

    def distance(matrix):
        pair = [readings(one @ matrix) for one in (other, rows)]
        found = FrechetDistance("f", Whitening()).measure(EvaluationData(*pair))[0]
        assert isinstance(found, MetricResult)
        return found.value

    assert distance(7 * turn) == pytest.approx(distance(np.eye(3)), rel=1e-3)


def test_a_fault_that_hides_between_two_loud_features_is_seen():
    rows, other = features(200) @ MIX, features(200, 1) @ MIX
    # little beside the spread of either, two standard deviations of their difference
    faulty = other + np.array([-0.15, 0.15, 0])

    def figure(whitening, given):
        found = FrechetDistance("f", whitening).measure(
            EvaluationData(readings(given), readings(rows))
        )[1]
        assert isinstance(found, MetricResult)
        assert found.interval is not None
        return found.interval

    assert not figure(None, other).apart(figure(None, faulty))
    assert figure(Whitening(1e-6), other).apart(figure(Whitening(1e-6), faulty))


def test_extrapolated_distance_of_two_sets_of_one_kind_is_about_0():
    found, plain = [], []
    for k in range(20):
        pair = [readings(features(120, 2 * k + one, 8)) for one in (0, 1)]
        own, real = (grouped(one, "f") for one in pair)
        whole = FeatureStatistics.of(np.stack([r["features"] for r in pair[1].records("f")]))
        coordinates = Whitening().of(whole)
        result = frechet_jackknife(*([coordinates(one) for one in part] for part in (own, real)))
        found.append(result.extrapolated)
        plain.append(result.value)
        assert len(own) == GROUPS
    assert abs(np.mean(found)) < 0.15 * np.mean(plain)


def test_a_whitened_figure_says_so():
    sets = EvaluationData(readings(features(60)), readings(features(70, 1)))
    plain, extrapolated = FrechetDistance("f", Whitening(0.2)).measure(sets)
    assert plain.name == "Fréchet distance, f, whitened"
    assert extrapolated.name == "Fréchet distance, f, whitened, extrapolated"
    assert isinstance(plain, MetricResult)
    assert "ridge 0.2" in plain.notes


def test_simple_statistics_are_whitened_and_networks_are_not():
    chosen = suite(["frechet"], ["statistics", "objects"]).metrics
    assert [one.whitening for one in chosen if isinstance(one, FrechetDistance)] == [
        *2 * [Whitening()],
        *2 * [None],
    ]
