"""The spectrogram that AudioLDM was trained on."""

import math

import pytest
import torch
from closeness import assert_close

from mmdisco.adapters.audioldm_mel import PEAK, QUIETEST, SAMPLE_RATE, MelFrontEnd

FRONT_END = MelFrontEnd()


def sine(hertz, samples=16_000, amplitude=0.5):
    time = torch.arange(samples) / SAMPLE_RATE
    return amplitude * torch.sin(2 * math.pi * hertz * time)[None]


@pytest.mark.parametrize("hops", [3, 10, 100])
def test_a_column_for_every_hop(hops):
    mel = FRONT_END.log_mel(sine(440, hops * 160))
    assert mel.shape == (1, 1, hops, 64)


def test_silence_is_the_floor():
    mel = FRONT_END.log_mel(torch.zeros(1, 1600))
    assert_close(mel, torch.full_like(mel, math.log(QUIETEST)))


@pytest.mark.parametrize("hertz", [200.0, 1000.0, 3000.0, 7000.0])
def test_a_tone_is_loudest_in_the_filter_around_it(hertz):
    mel = FRONT_END.log_mel(sine(hertz))[0, 0, 50]
    peak = FRONT_END.filters[int(mel.argmax())]
    frequencies = torch.linspace(0, SAMPLE_RATE / 2, 513)
    inside = frequencies[peak > 0]
    assert inside[0] - 32 <= hertz <= inside[-1] + 32


def test_filters_have_the_same_area():
    wide = FRONT_END.filters.sum(1) * (SAMPLE_RATE / 1024)
    # narrow ones are sampled too coarsely for an exact sum
    assert_close(wide[30:], torch.ones_like(wide[30:]), rtol=0.02)


def test_the_scale_bends_at_1000_hertz():
    centres = FRONT_END.filters.argmax(1) * (SAMPLE_RATE / 1024)
    low, high = centres[centres < 900].diff(), centres[centres > 1100].diff()
    assert low.float().std() < 16
    assert high[-5:].float().mean() > 3 * low.float().mean()


def test_twice_as_loud_is_ln_2_more():
    one, two = (FRONT_END.log_mel(sine(500, amplitude=level)) for level in (0.2, 0.4))
    loud = one[0, 0, 50].argmax()
    difference = (two - one)[0, 0, 50, loud]
    assert_close(difference, torch.tensor(math.log(2.0)), rtol=1e-4)


@pytest.mark.parametrize("amplitude", [0.01, 0.5, 1.0])
def test_every_sound_comes_to_the_level_of_the_training(amplitude):
    given = torch.cat([sine(500, amplitude=amplitude) + 0.1, torch.zeros(1, 16_000)])
    levelled = FRONT_END.level(given)
    assert_close(levelled[0].abs().max(), torch.tensor(PEAK))
    assert_close(levelled[0].mean(), torch.tensor(0.0), scale=PEAK)
    assert not levelled[1].any()
