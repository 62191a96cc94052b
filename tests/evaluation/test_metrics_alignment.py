import numpy as np
import pytest
from closeness import assert_close

from mmdisco.evaluation.metrics.alignment import AvAlign, ObjectsAgreement, Synchrony
from mmdisco.evaluation.metrics.av_align import (
    CURRENT,
    VARIANTS,
    motion_peaks,
    one_sided,
    one_to_one,
    symmetric,
    union_of_rates,
)
from mmdisco.evaluation.metrics.base import EvaluationData, derangements
from mmdisco.evaluation.metrics.extractors import Objects, Peaks, SyncEmbeddings
from mmdisco.evaluation.metrics.features import InMemory
from mmdisco.evaluation.metrics.result import MetricResult, Skipped
from mmdisco.evaluation.metrics.sync.scorer import auc, lag, pair_auc, shuffled_auc
from mmdisco.media.sounding_objects.dataset import example


def times(*values):
    return np.array(values, np.float64)


def test_a_peak_is_matched_once():
    heard, seen = times(0.1, 0.15), times(0.12)
    assert one_to_one(heard, seen, 0.1) == pytest.approx(1 / 2)
    assert one_sided(heard, seen, 0.1) == pytest.approx(2 / 1)  # may exceed 1


def test_variants_agree_with_a_count_by_hand():
    heard, seen = times(0.1, 0.5), times(0.15, 0.9, 1.2)
    assert one_to_one(heard, seen, 0.1) == pytest.approx(1 / 4)
    assert symmetric(heard, seen, 0.1) == pytest.approx(2 / 5)
    p, q = 1 / 2, 1 / 3
    assert union_of_rates(heard, seen, 0.1) == pytest.approx(p * q / (p + q - p * q))


def test_the_window_is_exclusive():
    assert one_to_one(times(0.0), times(0.25), 0.25) == 0


def test_motion_peaks_are_strict_inner_maxima_above_the_least():
    motion = np.array([9.0, 0.0, 0.05, 0.0, 1.0, 0.0, 2.0, 2.0, 0.0, 3.0])
    assert_close(motion_peaks(motion, 10.0, 0.1), [0.4])
    assert_close(motion_peaks(motion, 10.0, 0.0), [0.2, 0.4])


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.name)
def test_nothing_heard_and_nothing_seen_is_no_alignment(variant):
    assert variant.score(times(), np.zeros(16), 10.0) == 0


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.name)
def test_one_empty_side_is_no_alignment(variant):
    motion = np.zeros(16)
    motion[5] = 1
    assert variant.score(times(), motion, 10.0) == 0
    assert variant.score(times(0.5), np.zeros(16), 10.0) == 0


def test_no_exchange_leaves_a_pair():
    found = list(derangements(7, 0))
    assert len(found) == 6
    for sounds in found:
        assert sorted(sounds.tolist()) == list(range(7))
        assert (sounds != np.arange(7)).all()


def peaks(count, *, aligned):
    rng = np.random.default_rng(0)
    kept = []
    for _ in range(count):
        motion = np.zeros(40)
        frames = rng.choice(np.arange(2, 38, 3), 3, replace=False)
        motion[frames] = 1.0
        onsets = np.sort(frames / 10) if aligned else np.sort(rng.uniform(0, 4, 3))
        kept.append({"onsets": onsets, "motion": motion, "fps": np.array([10.0])})
    return InMemory([str(k) for k in range(count)], {"peaks": kept})


def test_av_align_stands_beside_shuffled_pairs():
    (good,) = AvAlign(CURRENT).measure(EvaluationData(peaks(40, aligned=True)))
    (chance,) = AvAlign(CURRENT).measure(EvaluationData(peaks(40, aligned=False)))
    assert isinstance(good, MetricResult)
    assert isinstance(chance, MetricResult)
    assert good.value == pytest.approx(1)
    assert good.baseline["shuffled"] < 0.5
    assert good.baseline["z"] > 10
    assert abs(chance.baseline["z"]) < 4


def test_too_few_clips_are_said():
    (found,) = AvAlign(CURRENT).measure(EvaluationData(peaks(4, aligned=True)))
    assert isinstance(found, Skipped)
    assert found.needs == "10 clips that it can read, not 4"


def test_auc_counts_ties_half():
    assert auc(np.array([2.0, 1.0]), np.array([1.0, 0.0])) == pytest.approx(3.5 / 4)


def test_pair_auc_is_one_if_every_clip_fits_itself_best():
    assert pair_auc(np.eye(5)) == 1
    assert abs(shuffled_auc(np.random.default_rng(0).normal(size=(400, 400)), 0) - 0.5) < 0.06


@pytest.mark.parametrize("late", [-4, -1, 0, 2, 5])
def test_lag_is_found_with_its_sign(late):
    rng = np.random.default_rng(1)
    track = rng.normal(size=(40, 32)).astype(np.float32)
    picture = track[10:26]
    sound = track[10 - late : 26 - late]
    assert lag(sound, picture).seconds == pytest.approx(late / 10, abs=0.05)


def objects(count, *, exchanged=False):
    found = InMemory.of([Objects()], [example(3, k).clip for k in range(count)])
    kept = [dict(one) for one in found.kept["objects"] if one]
    if exchanged:
        kept = [
            {**a, "heard": b["heard"], "heard_events": b["heard_events"]}
            for a, b in zip(kept, kept[1:] + kept[:1], strict=True)
        ]
    return InMemory(found.clips, {"objects": kept})


def test_sounding_objects_agree_with_themselves_and_not_with_others():
    real = ObjectsAgreement().measure(EvaluationData(objects(24)))
    assert [one.name for one in real if isinstance(one, MetricResult)] == [
        "sounding objects, events within 0.05 s, F1",
        "sounding objects, same kind",
        "sounding objects, same material",
        "sounding objects, same size",
    ]
    exchanged = ObjectsAgreement().measure(EvaluationData(objects(24, exchanged=True)))
    for good, bad in zip(real, exchanged, strict=True):
        assert isinstance(good, MetricResult)
        assert isinstance(bad, MetricResult)
        assert good.value > 0.85 > 0.6 > bad.value
        assert good.baseline["z"] > 3


def test_peaks_of_a_real_clip_are_where_things_happen():
    item = example(3, 1)
    record = Peaks().read(item.clip)
    assert record["motion"].shape == (16,)
    assert record["motion"].max() > 0.1
    first = item.scene.events[0].time
    assert np.abs(record["onsets"] - first).min() < 0.1


def test_the_judge_is_asked_for_enough_clips():
    found = InMemory(["0"], {"sync-scorer": [None]})
    (outcome,) = Synchrony().measure(EvaluationData(found))
    assert isinstance(outcome, Skipped)


def test_synchrony_tells_true_pairs_from_exchanged_ones_on_held_out_clips():
    from mmdisco.evaluation.metrics.sync.scorer import load_scorer

    judge = SyncEmbeddings(load_scorer())
    found = InMemory.of([judge], [example(1_000_003, k).clip for k in range(60)])
    auc_, mean_lag, _ = Synchrony().measure(EvaluationData(found))
    assert isinstance(auc_, MetricResult)
    assert isinstance(mean_lag, MetricResult)
    assert auc_.value > 0.9
    assert auc_.baseline["shuffled against shuffled"] == pytest.approx(0.5, abs=0.05)
    assert abs(mean_lag.value) < 0.1
