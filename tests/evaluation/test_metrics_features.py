from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from closeness import assert_close

from mmdisco.evaluation.metrics.sounding_objects.feature_networks import (
    AudioFeatures,
    VideoFeatures,
    audio_features,
    video_features,
)
from mmdisco.media.mel import MelScale
from mmdisco.media.sounding_objects.dataset import example

MODALITIES = ("video", "audio")
MOST_PARAMETERS = 150_000


@cache
def network(modality):
    torch.manual_seed(0)
    return {"video": VideoFeatures, "audio": AudioFeatures}[modality]()


@cache
def clips(modality, count=3):
    return [getattr(example(0, index).clip, modality) for index in range(count)]


def read(modality, chosen):
    return {"video": video_features, "audio": audio_features}[modality](network(modality), chosen)


def inputs(modality):
    """What the network itself is given, time along the axis of steps."""
    if modality == "video":
        return torch.from_numpy(np.stack([clip.frames for clip in clips("video")]))
    return MelScale().analyse(torch.from_numpy(np.stack([c.waveform for c in clips("audio")])))


@pytest.mark.parametrize("modality", MODALITIES)
def test_every_clip_has_64_finite_features(modality):
    found = read(modality, clips(modality))
    assert found.shape == (3, 64)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("modality", MODALITIES)
def test_no_clips_have_no_features(modality):
    assert read(modality, []).shape == (0, 64)


@pytest.mark.parametrize("modality", MODALITIES)
def test_features_do_not_depend_on_the_batch(modality):
    together = read(modality, clips(modality))
    alone = read(modality, clips(modality)[1:2])
    assert_close(together[1:2], alone, rtol=1e-4)


@pytest.mark.parametrize("modality", MODALITIES)
def test_more_clips_than_a_batch_keep_their_order(modality, monkeypatch):
    whole = read(modality, clips(modality))
    monkeypatch.setattr("mmdisco.evaluation.metrics.sounding_objects.feature_networks.AT_ONCE", 2)
    assert_close(read(modality, clips(modality)), whole, rtol=1e-4)


@pytest.mark.parametrize("modality", MODALITIES)
def test_features_are_those_of_the_network(modality):
    with torch.no_grad():
        expected = network(modality)(inputs(modality)).numpy()
    assert_close(read(modality, clips(modality)), expected, rtol=1e-4)


@pytest.mark.parametrize("modality", MODALITIES)
def test_clips_differ_in_their_features(modality):
    first, second, _ = read(modality, clips(modality))
    assert np.abs(first - second).max() > 1e-3


@pytest.mark.parametrize(("modality", "axis"), [("video", 1), ("audio", 2)])
def test_the_same_moments_in_another_order_are_another_clip(modality, axis):
    given = inputs(modality)
    # halves exchanged: all steps stay, and all but a few keep their neighbours
    to_device = given.roll(given.shape[axis] // 2, axis)
    with torch.no_grad():
        before, after = network(modality)(given), network(modality)(to_device)
    assert (before - after).abs().mean(1).min() > 0.1 * before.std(0).mean()


@pytest.mark.parametrize("modality", MODALITIES)
def test_reading_leaves_the_input_as_it_was(modality):
    given = inputs(modality)
    kept = given.clone()
    network(modality)(given)
    assert torch.equal(given, kept)


@pytest.mark.parametrize("modality", MODALITIES)
def test_networks_are_small(modality):
    assert sum(p.numel() for p in network(modality).parameters()) < MOST_PARAMETERS


@pytest.mark.parametrize("modality", MODALITIES)
def test_networks_are_read_in_eval_mode(modality):
    network(modality).train()
    read(modality, clips(modality))
    assert not network(modality).training


def test_clips_of_another_size_are_refused():
    video, audio = clips("video")[0], clips("audio")[0]
    with pytest.raises(ValueError, match="frames must be"):
        read("video", [replace(video, frames=video.frames[:8])])
    with pytest.raises(ValueError, match="samples at 16000 Hz"):
        read("audio", [replace(audio, sample_rate=8000)])
