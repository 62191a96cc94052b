"""How much of a clip is kept, measured on clips whose loss is known."""

from fractions import Fraction

import numpy as np
import pytest
from closeness import assert_close

from mmdisco.media.clip import Audio, Video
from mmdisco.media.reconstruction import (
    PictureReconstruction,
    SoundReconstruction,
    agreement,
    picture_remark,
    sound_remark,
)

RATE = 16_000


def grey(level, size=(16, 24), frames=3):
    return Video(np.full((frames, *size, 3), level, np.float32), Fraction(10))


def clicks(*instants, rate=RATE, seconds=1.6):
    """Short bursts of noise at given seconds."""
    rng = np.random.default_rng(0)
    waveform = np.zeros(round(seconds * rate), np.float32)
    for instant in instants:
        first = round(instant * rate)
        waveform[first : first + rate // 20] = rng.uniform(-0.5, 0.5, rate // 20)
    return Audio(waveform, rate)


def noise(scale, rate=RATE):
    rng = np.random.default_rng(0)
    return Audio((scale * rng.uniform(-1, 1, rate)).astype(np.float32), rate)


def test_psnr_of_a_known_error_is_that_of_the_formula():
    assert_close(PictureReconstruction.of(grey(0.5), grey(0.6)).psnr, 20.0, rtol=1e-4)
    assert PictureReconstruction.of(grey(0.5), grey(0.5)).psnr == 100


def test_of_the_variance_one_even_colour_keeps_nothing_and_half_the_contrast_three_quarters():
    frames = np.random.default_rng(0).uniform(0, 1, (4, 16, 16, 3)).astype(np.float32)
    original = Video(frames, Fraction(10))
    even = Video(np.full_like(frames, 0) + frames.mean((0, 1, 2)), Fraction(10))
    dull = Video((frames + even.frames) / 2, Fraction(10))
    assert_close(PictureReconstruction.of(original, even).variance, 0.0, rtol=1e-4, scale=1)
    assert_close(PictureReconstruction.of(original, dull).variance, 0.75, rtol=1e-4)
    assert PictureReconstruction.of(original, original).variance == 1


def test_a_small_error_of_an_even_picture_is_no_loss():
    assert PictureReconstruction.of(grey(0.5), grey(0.51)).variance > 0.9


def test_pictures_are_compared_over_the_frames_of_both_at_the_size_of_the_original():
    decoded = grey(0.6, size=(32, 48), frames=2)
    assert_close(PictureReconstruction.of(grey(0.5), decoded).psnr, 20.0, rtol=1e-4)


def test_sound_at_half_the_level_is_six_decibels_away():
    found = SoundReconstruction.of(noise(0.8), noise(0.4))
    assert_close(found.mel_distance, 6.02, rtol=0.01)
    assert SoundReconstruction.of(noise(0.8), noise(0.8)).mel_distance == 0


def test_what_is_fainter_than_sixty_decibels_is_no_difference():
    assert SoundReconstruction.of(noise(1e-5), noise(1e-6)).mel_distance == 0


@pytest.mark.parametrize(("late", "expected"), [(0.03, 1.0), (0.1, 0.0)])
def test_onsets_agree_within_fifty_milliseconds(late, expected):
    found = SoundReconstruction.of(clicks(0.3, 0.9), clicks(0.3 + late, 0.9 + late))
    assert found.onset_f1 == expected


def test_sounds_of_another_rate_are_compared_at_one():
    found = SoundReconstruction.of(clicks(0.3, 0.9), clicks(0.3, 0.9, rate=48_000))
    assert found.onset_f1 == 1


def test_an_onset_that_is_lost_counts_by_half_of_its_pair():
    assert_close(agreement([0.3, 0.9], [0.3]), 2 / 3, rtol=1e-6)
    assert agreement([0.3], [0.3, 0.32]) == pytest.approx(2 / 3)


def test_without_an_onset_there_is_no_agreement():
    silence = Audio(np.zeros(RATE, np.float32), RATE)
    assert SoundReconstruction.of(silence, silence).onset_f1 is None
    assert SoundReconstruction.of(clicks(0.5), silence).onset_f1 == 0


def test_a_sound_shorter_than_a_window_is_measured():
    short = Audio(np.full(40, 0.1, np.float32), RATE)
    assert SoundReconstruction.of(short, short).mel_distance == 0


def test_what_is_kept_well_is_not_remarked_upon_and_the_rest_with_its_figure():
    assert picture_remark(0.5) == sound_remark(0.0) == ""
    assert "keep 41 %" in picture_remark(0.41)
    assert "keep nothing" in picture_remark(-3.0)
    assert "40.0 dB" in sound_remark(40.0)
