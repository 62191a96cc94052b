from functools import cache

import numpy as np
import pytest

from mmdisco.errors import UserError
from mmdisco.evaluation.metrics.result import gap_closed
from mmdisco.evaluation.metrics.sounding_objects.agreement import (
    agreement,
    read,
    same_caption_shuffle,
    shuffle,
)
from mmdisco.media.sounding_objects.dataset import example_of
from mmdisco.media.sounding_objects.scene import Colour, ObjectKind, SceneConstraints


@cache
def readings():
    """Four captions of six clips; two of them name the colour."""
    captions = (
        SceneConstraints(ObjectKind.DRUM),
        SceneConstraints(ObjectKind.LAMP),
        SceneConstraints(ObjectKind.DRUM, Colour.RED),
        SceneConstraints(ObjectKind.LAMP, Colour.BLUE),
    )
    items = [example_of(captions[i % 4], 7, i) for i in range(24)]
    return [read(item.clip, item.caption.named) for item in items]


def test_real_clips_agree_in_everything():
    figures = agreement(readings())
    assert figures["event_f1"].value == pytest.approx(1)
    assert figures["material"].value == figures["size"].value == figures["kind"].value == 1
    assert figures["caption_kind"].value == figures["caption_colour"].value == 1


def test_shuffled_clips_agree_by_chance():
    figures = agreement(shuffle(readings(), seed=0))
    assert figures["event_f1"].value < 0.5
    assert figures["kind"].value < 1


@pytest.mark.parametrize("pair", [shuffle, same_caption_shuffle])
def test_no_picture_keeps_its_sound(pair):
    original = {id(r.sight): id(r.hearing) for r in readings()}
    assert all(original[id(r.sight)] != id(r.hearing) for r in pair(readings(), 0))


def test_repairing_stays_within_the_caption():
    owners = {id(r.hearing): r.named for r in readings()}
    assert all(owners[id(r.hearing)] == r.named for r in same_caption_shuffle(readings(), 0))


def test_what_the_caption_names_survives_repairing_and_is_not_counted_as_free():
    figures = agreement(same_caption_shuffle(readings(), 0))
    assert figures["material"].value > figures["material_free"].value
    assert figures["material_free"].clips == 12


def test_seed_changes_the_pairs():
    first, second = (same_caption_shuffle(readings(), seed) for seed in (0, 1))
    assert [id(r.hearing) for r in first] != [id(r.hearing) for r in second]


def test_a_clip_without_fellow_is_left_out_of_repairing():
    lonely = read(
        example_of(SceneConstraints(ObjectKind.BELL), 7, 0).clip, SceneConstraints(ObjectKind.BELL)
    )
    assert len(same_caption_shuffle([*readings(), lonely], 0)) == len(readings())


def test_too_few_clips_are_refused():
    with pytest.raises(UserError, match="two clips"):
        shuffle(readings()[:1], 0)
    with pytest.raises(UserError, match="two clips"):
        same_caption_shuffle(readings()[:1], 0)


def test_no_clips_give_no_number():
    assert np.isnan(agreement([])["event_f1"].value)


def test_gap_closed_is_0_at_the_control_and_1_at_real():
    assert gap_closed(0.2, 0.2, 0.9) == 0
    assert gap_closed(0.9, 0.2, 0.9) == 1
