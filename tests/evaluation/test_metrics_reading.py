from fractions import Fraction

import numpy as np
import pytest
import torch
from closeness import assert_close
from scipy.ndimage import zoom

from mmdisco.evaluation.metrics.sounding_objects.agreement import event_f1
from mmdisco.evaluation.metrics.sounding_objects.detect_audio import detect_audio
from mmdisco.evaluation.metrics.sounding_objects.detect_video import (
    colour_of_each_frame,
    detect_video,
)
from mmdisco.media.clip import Audio, Video
from mmdisco.media.mel import MelScale
from mmdisco.media.sounding_objects.dataset import example_of
from mmdisco.media.sounding_objects.scene import ObjectKind, SceneConstraints

KINDS = pytest.mark.parametrize("kind", list(ObjectKind))
CLIPS = 12


def drawn(kind):
    return [example_of(SceneConstraints(kind=kind), 1, i) for i in range(CLIPS)]


def scores(examples, readings):
    """Means of event F1 at 0.05 s, kind, colour and size against the truth."""
    rows = []
    for item, reading in zip(examples, readings, strict=True):
        scene = item.scene
        times = np.array([event.time for event in scene.events])
        rows.append(
            (
                event_f1(times, reading.events, 0.05),
                reading.kind is scene.kind,
                reading.colour is scene.colour,
                reading.size is scene.size,
            )
        )
    return np.mean(rows, axis=0)


@KINDS
def test_pixels_alone_tell_everything(kind):
    examples = drawn(kind)
    assert_close(scores(examples, [detect_video(e.clip.video) for e in examples]), 1)


@KINDS
def test_a_frame_of_another_colour_is_found(kind):
    item = drawn(kind)[0]
    video = item.clip.video
    assert set(colour_of_each_frame(video)) == {item.scene.colour}
    frames = np.array(video.frames)
    frames[5] = frames[5][..., [1, 2, 0]]
    found = colour_of_each_frame(Video(frames, video.fps))
    assert [i for i, one in enumerate(found) if one is not item.scene.colour] == [5]


@KINDS
def test_sound_alone_tells_everything(kind):
    examples = drawn(kind)
    assert_close(scores(examples, [detect_audio(e.clip.audio) for e in examples]), 1)


@KINDS
def test_contacts_are_solved_for_between_frames(kind):
    errors = np.concatenate(
        [
            detect_video(e.clip.video).events - [event.time for event in e.scene.events]
            for e in drawn(kind)
        ]
    )
    assert np.median(np.abs(errors)) < 0.005
    assert np.abs(errors).max() < 0.035


@KINDS
def test_blur_and_noise_leave_pixels_readable(kind):
    examples, readings = drawn(kind), []
    for item in examples:
        frames = item.clip.video.frames
        small = frames.reshape(16, 32, 2, 32, 2, 3).mean((2, 4))
        noise = np.random.default_rng(0).normal(0, 0.03, frames.shape)
        soft = np.clip(np.asarray(zoom(small, (1, 2, 2, 1), order=1)) + noise, 0, 1)
        readings.append(detect_video(Video(soft.astype(np.float32), item.clip.video.fps)))
    assert scores(examples, readings).min() >= 0.95


@KINDS
def test_mel_and_griffin_lim_leave_sound_readable(kind):
    examples, scale = drawn(kind), MelScale()
    waveforms = torch.from_numpy(np.stack([e.clip.audio.waveform for e in examples]))
    again = scale.synthesise(scale.analyse(waveforms)).numpy()
    readings = [detect_audio(Audio(waveform, scale.sample_rate)) for waveform in again]
    assert scores(examples, readings).min() >= 0.95


def test_an_empty_room_shows_nothing():
    sight = detect_video(Video(np.full((16, 64, 64, 3), 0.8, np.float32), Fraction(10)))
    assert sight.kind is None
    assert not len(sight.events)


def test_silence_says_nothing():
    hearing = detect_audio(Audio(np.zeros(25_600, np.float32), 16_000))
    assert hearing.kind is None
    assert not len(hearing.events)


def test_noise_alone_is_no_series_of_events():
    noise = np.random.default_rng(0).normal(0, 0.1, 25_600).astype(np.float32)
    assert len(detect_audio(Audio(noise, 16_000)).events) <= 1


def test_a_still_ball_does_not_bounce():
    item = drawn(ObjectKind.BALL)[0]
    still = np.repeat(item.clip.video.frames[:1], 16, axis=0)
    assert not len(detect_video(Video(still, Fraction(10))).events)


def test_another_sample_rate_is_refused():
    with pytest.raises(ValueError, match="sample_rate"):
        detect_audio(Audio(np.zeros(100, np.float32), 44_100))
