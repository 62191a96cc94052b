from functools import partial

import numpy as np
import pytest
from closeness import assert_close

from mmdisco.media.sounding_objects.dataset import (
    draw_caption,
    example,
    example_of,
    vocabulary,
)
from mmdisco.media.sounding_objects.render import render
from mmdisco.media.sounding_objects.scene import (
    FIRST_EVENT,
    LAST_EVENT,
    LEAST_GAP,
    RADII,
    Colour,
    ObjectKind,
    SceneConstraints,
    Size,
    distance,
    draw_scene,
    size_of,
)
from mmdisco.media.sounding_objects.sound import fundamental, sound

KINDS = pytest.mark.parametrize("kind", list(ObjectKind))


def scenes(clips, **wish):
    return [draw_scene(np.random.default_rng(i), SceneConstraints(**wish)) for i in range(clips)]


def test_same_seed_and_index_give_the_same_clip():
    first, second = example(3, 5), example(3, 5)
    assert (first.scene, first.caption) == (second.scene, second.caption)
    np.testing.assert_array_equal(first.clip.video.frames, second.clip.video.frames)
    np.testing.assert_array_equal(first.clip.audio.waveform, second.clip.audio.waveform)


@pytest.mark.parametrize(("seed", "index"), [(3, 6), (4, 5)])
def test_seed_and_index_change_the_scene(seed, index):
    assert example(seed, index).scene != example(3, 5).scene


@KINDS
def test_a_clip_is_16_frames_of_64_pixels_and_a_second_and_a_half_of_sound(kind):
    clip = example_of(SceneConstraints(kind=kind), 0, 0).clip
    assert clip.video.frames.shape == (16, 64, 64, 3)
    assert clip.video.frames.dtype == clip.audio.waveform.dtype == np.float32
    assert clip.video.seconds == clip.audio.seconds
    assert 0 <= clip.video.frames.min() <= clip.video.frames.max() <= 1
    assert 0.05 < np.abs(clip.audio.waveform).max() < 1


@KINDS
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_events_keep_their_count_range_and_gap(kind, count):
    for scene in scenes(20, kind=kind, count=count):
        times = [event.time for event in scene.events]
        assert len(times) == count
        assert times[0] >= FIRST_EVENT
        assert times[-1] <= LAST_EVENT
        assert min(np.diff(times), default=1) >= LEAST_GAP - 1e-9
        assert all(0 < event.speed <= 1 + 1e-9 for event in scene.events)


def test_events_are_not_metronomic():
    gaps = [np.diff([e.time for e in s.events]) for s in scenes(50, kind=ObjectKind.DRUM, count=3)]
    assert np.std([g[0] / g[1] for g in gaps]) > 0.3


@pytest.mark.parametrize("kind", [ObjectKind.BALL, ObjectKind.DRUM, ObjectKind.BELL])
def test_the_striker_touches_at_events_and_nowhere_else(kind):
    for scene in scenes(20, kind=kind):
        times = np.array([event.time for event in scene.events])
        assert_close(distance(scene, times), 0, scale=1)
        fine = np.arange(0, 1.6, 0.001)
        away = np.abs(fine[:, None] - times).min(1) > 0.01
        assert distance(scene, fine)[away].min() > 0.1


def test_a_wish_is_granted():
    wish = SceneConstraints(ObjectKind.BELL, Colour.BLUE, Size.LARGE, 2)
    scene = example_of(wish, 0, 0).scene
    assert SceneConstraints(scene.kind, scene.colour, scene.size, len(scene.events)) == wish


@pytest.mark.parametrize("size", list(Size))
def test_radii_are_of_their_size_class(size):
    assert all(size_of(scene.radius) is size for scene in scenes(20, size=size))


def test_bigger_things_sound_lower():
    low, middle, high = (fundamental(np.mean(RADII[size])) for size in reversed(Size))
    assert low * 1.4 < middle < high / 1.4


def test_faster_contacts_are_louder():
    scene = next(s for s in scenes(99, kind=ObjectKind.LAMP, count=2) if s.events[0].speed < 0.6)
    waveform = sound(scene, np.random.default_rng(0)).waveform
    first, second = (
        np.abs(waveform[round(e.time * 16_000) :][:2000]).max() / e.speed for e in scene.events
    )
    assert first == pytest.approx(second, rel=0.05)


@KINDS
def test_nothing_is_heard_before_the_first_event(kind):
    for scene in scenes(5, kind=kind):
        waveform = sound(scene, np.random.default_rng(0)).waveform
        assert np.abs(waveform[: round(scene.events[0].time * 16_000)]).max() < 2e-3


@KINDS
def test_materials_are_told_apart_by_colour(kind):
    means = []
    for colour in Colour:
        frames = render(scenes(1, kind=kind, colour=colour)[0]).frames
        saturated = np.ptp(frames, axis=-1) > 0.3
        means.append(frames[saturated].mean(0))
    means = np.array(means) / np.linalg.norm(means, axis=1, keepdims=True)
    assert (means @ means.T)[~np.eye(4, dtype=bool)].max() < 0.9


def test_a_caption_says_only_what_is_true():
    for item in map(partial(example, 0), range(200)):
        scene, named = item.scene, item.caption.named
        truth = SceneConstraints(scene.kind, scene.colour, scene.size, len(scene.events))
        for said, true in zip(
            (named.kind, named.colour, named.size, named.count),
            (truth.kind, truth.colour, truth.size, truth.count),
            strict=True,
        ):
            assert said in (None, true)
        if named.colour:
            assert named.colour.value in item.caption.text.split()


def test_attributes_are_sometimes_named_and_sometimes_free():
    named = [item.caption.named for item in map(partial(example, 0), range(200))]
    for share in (
        np.mean([n.colour is not None for n in named]),
        np.mean([n.size is not None for n in named]),
        np.mean([n.count is not None for n in named]),
    ):
        assert 0.15 < share < 0.55


def test_one_meaning_has_several_wordings():
    named = SceneConstraints(ObjectKind.BALL, size=Size.LARGE)
    assert len({draw_caption(named, np.random.default_rng(i)).text for i in range(50)}) == 6


def test_captions_use_the_vocabulary_only():
    words = set(vocabulary())
    spoken = {
        word for item in map(partial(example, 0), range(300)) for word in item.caption.text.split()
    }
    assert spoken <= words
    assert len(words) < 60


def test_a_caption_without_kind_is_refused():
    with pytest.raises(ValueError, match="kind"):
        draw_caption(SceneConstraints(), np.random.default_rng(0))
