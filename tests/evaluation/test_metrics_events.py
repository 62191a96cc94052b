import numpy as np
import pytest

from mmdisco.evaluation.metrics.sounding_objects.agreement import event_f1, matches


def times(*values):
    return np.array(values, np.float64)


def test_equal_events_score_one():
    assert event_f1(times(0.2, 0.9), times(0.2, 0.9), 0.05) == 1


def test_an_event_is_matched_once():
    assert matches(times(0.50), times(0.48, 0.52), 0.05) == 1
    assert matches(times(0.48, 0.52), times(0.50), 0.05) == 1


def test_matching_is_the_largest_possible():
    # The nearest partner of 0.54 is 0.50, but then 0.46 would have none.
    assert matches(times(0.46, 0.54), times(0.50, 0.58), 0.05) == 2


@pytest.mark.parametrize(("tolerance", "expected"), [(0.05, 0.0), (0.10, 1.0)])
def test_tolerance_decides(tolerance, expected):
    assert event_f1(times(0.5), times(0.58), tolerance) == expected


def test_extra_and_missing_events_cost_alike():
    extra = event_f1(times(0.5), times(0.5, 1.0), 0.05)
    missing = event_f1(times(0.5, 1.0), times(0.5), 0.05)
    assert extra == missing == pytest.approx(2 / 3)


def test_a_clip_without_events_scores_nothing():
    assert event_f1(times(), times(), 0.05) == 0
