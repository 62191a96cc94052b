import numpy as np
import torch
from closeness import assert_close

from mmdisco.media.mel import MelScale
from mmdisco.media.sounding_objects.dataset import example

SCALE = MelScale()


def waveforms(count):
    return torch.from_numpy(np.stack([example(0, i).clip.audio.waveform for i in range(count)]))


def tone(frequency, amplitude=0.5):
    return amplitude * torch.sin(2 * torch.pi * frequency * torch.arange(25_600) / 16_000)[None]


def test_a_clip_has_128_columns_of_64_bins():
    assert SCALE.analyse(waveforms(2)).shape == (2, 1, 128, 64)


def test_silence_is_minus_one_and_a_loud_tone_near_one():
    assert SCALE.analyse(torch.zeros(1, 25_600)).unique() == torch.tensor([-1.0])
    assert_close(SCALE.analyse(tone(1000)).max(), 1.0, rtol=0.15)


def test_higher_tones_lie_in_higher_bins():
    peaks = [int(SCALE.analyse(tone(f))[0, 0, 64].argmax()) for f in (300, 700, 1500, 3500, 7000)]
    assert peaks == sorted(set(peaks))


def test_synthesis_reproduces_the_spectrogram():
    mel = SCALE.analyse(waveforms(4))
    again = SCALE.analyse(SCALE.synthesise(mel))
    assert (again - mel).abs().mean() < 0.05


def test_synthesis_keeps_the_length():
    assert SCALE.synthesise(SCALE.analyse(waveforms(1))).shape == (1, 25_600)


def test_more_iterations_come_nearer():
    mel = SCALE.analyse(waveforms(4))
    few, many = (SCALE.analyse(SCALE.synthesise(mel, n)) for n in (2, 32))
    assert (many - mel).abs().mean() < (few - mel).abs().mean()


def test_synthesis_does_not_depend_on_the_batch():
    mel = SCALE.analyse(waveforms(3))
    alone = SCALE.synthesise(mel[1:2])
    assert_close(SCALE.synthesise(mel)[1:2], alone, rtol=1e-3)


def test_seed_changes_the_phases():
    mel = SCALE.analyse(waveforms(1))
    assert not torch.equal(SCALE.synthesise(mel, seed=0), SCALE.synthesise(mel, seed=1))
