from fractions import Fraction

import numpy as np
import pytest

from mmdisco.media.clip import Audio, Video, cut_audio, cut_video, fit_audio, fit_video


def ramp(samples, rate=100):
    return Audio(np.linspace(0.1, 0.9, samples, dtype=np.float32), rate)


def steps(frames, fps=10):
    levels = np.linspace(0, 1, frames, dtype=np.float32)[:, None, None, None]
    return Video(np.tile(levels, (1, 2, 3, 3)), Fraction(fps))


@pytest.mark.parametrize(("seconds", "samples"), [(1.0, 100), (0.256, 26), (9.0, 200), (1e-9, 1)])
def test_cut_sound_has_at_most_the_seconds_and_one_sample_at_least(seconds, samples):
    whole = ramp(200)
    cut = cut_audio(whole, seconds)
    assert cut.sample_rate == 100
    np.testing.assert_array_equal(cut.waveform, whole.waveform[:samples])


@pytest.mark.parametrize(("seconds", "frames"), [(1.0, 10), (0.76, 8), (9.0, 20), (1e-9, 1)])
def test_cut_video_has_at_most_the_seconds_and_one_frame_at_least(seconds, frames):
    whole = steps(20)
    cut = cut_video(whole, seconds)
    assert cut.fps == 10
    np.testing.assert_array_equal(cut.frames, whole.frames[:frames])


@pytest.mark.parametrize("length", [1, 7, 8, 9])
def test_fitted_sound_is_cut_or_followed_by_silence(length):
    whole = ramp(length)
    fitted = fit_audio(whole, 8)
    assert fitted.waveform.shape == (8,)
    assert fitted.waveform.dtype == np.float32
    kept = min(length, 8)
    np.testing.assert_array_equal(fitted.waveform[:kept], whole.waveform[:kept])
    assert not fitted.waveform[kept:].any()


@pytest.mark.parametrize("length", [1, 7, 8, 9])
def test_fitted_video_is_cut_or_holds_its_last_frame(length):
    whole = steps(length)
    fitted = fit_video(whole, 8)
    assert fitted.frames.shape == (8, 2, 3, 3)
    assert fitted.frames.dtype == np.float32
    for index, frame in enumerate(fitted.frames):
        np.testing.assert_array_equal(frame, whole.frames[min(index, length - 1)])
