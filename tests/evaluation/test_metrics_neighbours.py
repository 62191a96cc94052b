import numpy as np
import pytest
from closeness import assert_close

from mmdisco.evaluation.metrics.base import EvaluationData
from mmdisco.evaluation.metrics.distances import manifold, nearest
from mmdisco.evaluation.metrics.features import InMemory
from mmdisco.evaluation.metrics.fidelity import (
    InceptionScore,
    inception_score,
    paired_divergences,
    probabilities,
    set_divergence,
)
from mmdisco.evaluation.metrics.memorization import NearestTraining
from mmdisco.evaluation.metrics.result import MetricResult, Skipped


def cloud(count, shift=0.0, seed=0):
    return np.random.default_rng(seed).normal(shift, 1, (count, 3)).astype(np.float32)


def readings(rows, key="features"):
    return InMemory([str(k) for k in range(len(rows))], {"f": [{key: row} for row in rows]})


def test_two_draws_of_one_cloud_cover_one_another():
    found = manifold(cloud(300), cloud(300, seed=1))
    assert min(found.precision.mean(), found.recall.mean(), found.coverage.mean()) > 0.9
    assert found.density.mean() == pytest.approx(1, rel=0.15)


def test_a_cloud_far_away_covers_nothing():
    found = manifold(cloud(50, shift=20), cloud(50))
    assert (found.precision.sum(), found.recall.sum(), found.coverage.sum()) == (0, 0, 0)


def test_one_clip_over_and_over_is_precise_and_covers_little():
    real = cloud(100)
    found = manifold(np.repeat(real[:1], 50, 0), real)
    assert found.precision.mean() == 1
    assert found.coverage.mean() < 0.2
    assert found.recall.mean() < 0.2


def test_scores_agree_with_a_count_by_hand():
    real = np.array([[0.0], [1.0], [2.0], [10.0]], np.float32)
    generated = np.array([[0.4], [9.0], [30.0]], np.float32)
    found = manifold(generated, real, k=1)  # real radii 1, 1, 1, 8
    assert found.density.tolist() == [2, 1, 0]
    assert found.precision.tolist() == [1, 1, 0]
    assert found.coverage.tolist() == [1, 1, 0, 1]


def test_nearest_is_found_and_never_the_clip_itself():
    rows = np.array([[0.0], [1.0], [5.0]], np.float32)
    assert nearest(rows, rows, same=True).index.tolist() == [1, 0, 1]
    assert not nearest(rows, rows).distance.any()


def test_copies_of_training_clips_are_close():
    training, held_out = cloud(200), cloud(200, seed=1)
    copies = training[:60] + 1e-4
    sets = EvaluationData(readings(copies), readings(held_out), readings(training))
    distance, share = NearestTraining("f").measure(sets)
    assert isinstance(distance, MetricResult)
    assert isinstance(share, MetricResult)
    assert share.value == 1
    assert distance.value < 0.01 < distance.baseline["held-out clips"]
    pairs = [one.split(" (")[0] for one in distance.notes.removeprefix("closest: ").split(", ")]
    assert len(pairs) == 3
    assert all(a == b for a, b in (one.split(" – ") for one in pairs))


def test_new_clips_are_close_as_often_as_held_out_ones():
    sets = EvaluationData(
        readings(cloud(400, seed=2)), readings(cloud(400, seed=1)), readings(cloud(400))
    )
    _, share = NearestTraining("f").measure(sets)
    assert isinstance(share, MetricResult)
    assert share.value == pytest.approx(0.05, abs=0.03)


def test_without_training_clips_the_reference_takes_their_place():
    sets = EvaluationData(readings(cloud(50, seed=2)), readings(cloud(50, seed=1)))
    distance, _ = NearestTraining("f").measure(sets)
    assert isinstance(distance, MetricResult)
    assert set(distance.baseline) == {"reference clips among themselves"}


def test_inception_score_counts_clear_and_even_classes():
    assert inception_score(np.eye(4)) == pytest.approx(4, rel=1e-3)
    assert inception_score(np.full((4, 4), 0.25)) == pytest.approx(1)
    assert inception_score(np.tile(np.eye(4)[:1], (5, 1))) == pytest.approx(1, rel=1e-3)


def test_divergences_agree_with_the_formula():
    p, q = np.array([[0.5, 0.5]]), np.array([[0.25, 0.75]])
    expected = 0.5 * np.log(2) + 0.5 * np.log(2 / 3)
    assert set_divergence(p, q) == pytest.approx(expected)
    assert paired_divergences(p, q)[0] == pytest.approx(expected)


def test_probabilities_of_large_logits_are_finite():
    assert_close(probabilities(np.array([[1000.0, 0.0]])), [[1, 0]])


def test_divergence_of_pairs_needs_clips_of_one_name():
    logits = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    named = InMemory([f"x{k}" for k in range(60)], {"f": [{"logits": row} for row in logits]})
    outcomes = InceptionScore("f").measure(EvaluationData(named, readings(logits, "logits")))
    assert isinstance(outcomes[-1], Skipped)
    same = InceptionScore("f").measure(
        EvaluationData(readings(logits, "logits"), readings(logits, "logits"))
    )
    assert isinstance(same[-1], MetricResult)
    assert same[-1].value == pytest.approx(0)
