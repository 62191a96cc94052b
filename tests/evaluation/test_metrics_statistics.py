from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from mmdisco.evaluation.metrics.extractors import (
    audio_statistics,
    video_statistics,
)
from mmdisco.media.clip import Audio, Video
from mmdisco.media.sounding_objects.dataset import example


def video():
    return example(4, 0).clip.video


def audio():
    return example(4, 0).clip.audio


def test_every_video_has_27_finite_statistics():
    assert video_statistics(video()).shape == (27,)
    assert np.isfinite(video_statistics(video())).all()


def test_every_sound_has_42_finite_statistics():
    assert audio_statistics(audio()).shape == (42,)
    assert np.isfinite(audio_statistics(audio())).all()


@pytest.mark.parametrize(
    "shape", [(1, 64, 64, 3), (2, 1, 1, 3), (5, 33, 47, 3)], ids=["one frame", "one pixel", "odd"]
)
def test_videos_of_any_size_have_statistics(shape):
    frames = np.full(shape, 0.5, np.float32)
    assert np.isfinite(video_statistics(Video(frames, Fraction(10)))).all()


@pytest.mark.parametrize("samples", [1, 100, 16_000])
def test_silent_sounds_of_any_length_have_statistics(samples):
    silent = Audio(np.zeros(samples, np.float32), 16_000)
    assert np.isfinite(audio_statistics(silent)).all()


def test_a_mirrored_video_differs_in_its_layout_alone():
    changed = np.abs(
        video_statistics(replace(video(), frames=np.ascontiguousarray(video().frames[:, :, ::-1])))
        - video_statistics(video())
    )
    assert changed[:-4].max() < 1e-4


@pytest.mark.parametrize("fault", ["noise", "still", "blur", "order"])
def test_faults_of_a_picture_change_its_statistics(fault):
    frames = video().frames
    rng = np.random.default_rng(0)
    broken = {
        "noise": frames + 0.05 * rng.standard_normal(frames.shape, np.float32),
        "still": np.repeat(frames[:1], len(frames), 0),
        "blur": (frames + np.roll(frames, 1, 1) + np.roll(frames, 1, 2)) / 3,
        "order": frames[rng.permutation(len(frames))],
    }[fault]
    changed = video_statistics(Video(np.clip(broken, 0, 1), Fraction(10)))
    assert np.abs(changed - video_statistics(video())).max() > 0.1


def test_faint_noise_lifts_the_floors_of_a_picture_and_motion_does_not():
    rng = np.random.default_rng(0)
    still = np.repeat(video().frames[:1], 16, 0)
    noisy = still + 0.02 * rng.standard_normal(still.shape, np.float32)
    moving = still.copy()
    moving[::2, 20:40, 20:40] += 0.3
    plain, faint, to_device = (
        video_statistics(Video(np.clip(one, 0, 1), Fraction(10)))[-7:-5]
        for one in (still, noisy, moving)
    )
    assert (faint - plain).min() > 0.5
    assert np.abs(to_device - plain).max() < 0.1


def test_noise_in_a_sound_changes_its_statistics_the_more_the_louder():
    noise = np.random.default_rng(0).standard_normal(len(audio().waveform), np.float32)
    steps = [
        np.linalg.norm(
            audio_statistics(replace(audio(), waveform=audio().waveform + level * noise))
            - audio_statistics(audio())
        )
        for level in (0.003, 0.01, 0.03)
    ]
    assert 0.1 < steps[0] < steps[1] < steps[2]
