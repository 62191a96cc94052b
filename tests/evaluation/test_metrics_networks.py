"""Published networks at tiny size, with random weights; their preprocessing by hand."""

import numpy as np
import pytest
import torch
from closeness import assert_close
from transformers import (
    ClapAudioConfig,
    ClapAudioModelWithProjection,
    ClapFeatureExtractor,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    VideoMAEConfig,
    VideoMAEForVideoClassification,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil

from mmdisco.errors import UserError
from mmdisco.evaluation.metrics.clip_clap_videomae import (
    ClapSound,
    ClipFrames,
    VideoMae,
    bytes_of,
    evenly_spaced,
)
from mmdisco.media.sounding_objects.dataset import example

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
CLIP = example(0, 0).clip


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        **SMALL, intermediate_size=16, projection_dim=8, image_size=64, patch_size=32
    )
    CLIPVisionModelWithProjection(config).save_pretrained(folder)
    sizes = {"size": {"shortest_edge": 64}, "crop_size": {"height": 64, "width": 64}}
    CLIPImageProcessorPil(**sizes).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def videomae_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videomae")
    torch.manual_seed(0)
    config = VideoMAEConfig(
        **SMALL, intermediate_size=16, image_size=64, patch_size=32, num_frames=4
    )
    config.num_labels = 5
    VideoMAEForVideoClassification(config).save_pretrained(folder)
    sizes = {"size": {"shortest_edge": 64}, "crop_size": {"height": 64, "width": 64}}
    VideoMAEImageProcessorPil(**sizes).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def clap_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clap")
    torch.manual_seed(0)
    config = ClapAudioConfig(
        spec_size=64,
        num_mel_bins=16,
        window_size=2,
        patch_embeds_hidden_size=8,
        hidden_size=16,
        depths=[1, 1],
        num_attention_heads=[1, 1],
        projection_dim=8,
        enable_fusion=False,
    )
    ClapAudioModelWithProjection(config).save_pretrained(folder)
    ClapFeatureExtractor(
        feature_size=16, max_length_s=2, truncation="rand_trunc", padding="repeatpad"
    ).save_pretrained(folder)
    return str(folder)


def test_clip_features_are_the_mean_over_frames_of_the_network(clip_folder):
    one = ClipFrames.load(clip_folder)
    mean = torch.tensor(one.processor.image_mean)[:, None, None]
    std = torch.tensor(one.processor.image_std)[:, None, None]
    pixels = torch.from_numpy(bytes_of(CLIP.video.frames)).movedim(3, 1) / 255
    with torch.no_grad():
        expected = one.network(pixel_values=(pixels - mean) / std).image_embeds.mean(0)
    found = one.read(CLIP)["features"]
    assert found.shape == (8,)
    assert_close(found, expected.numpy(), rtol=1e-4)


def test_videomae_sees_evenly_spaced_frames_and_gives_classes(videomae_folder):
    one = VideoMae.load(videomae_folder)
    mean = torch.tensor(one.processor.image_mean)[:, None, None]
    std = torch.tensor(one.processor.image_std)[:, None, None]
    chosen = bytes_of(CLIP.video.frames[[0, 5, 10, 15]])
    pixels = (torch.from_numpy(chosen).movedim(3, 1) / 255 - mean) / std
    with torch.no_grad():
        expected = one.network(pixel_values=pixels[None]).logits[0]
    found = one.read(CLIP)
    assert found["features"].shape == (16,)
    assert_close(found["logits"], expected.numpy(), rtol=1e-4)


def test_clap_hears_the_sound_at_its_own_rate(clap_folder):
    one = ClapSound.load(clap_folder)
    found = one.read(CLIP)["features"]
    assert found.shape == (8,)
    assert np.isfinite(found).all()
    other = one.read(example(0, 1).clip)["features"]
    assert np.abs(found - other).max() > 1e-6


def test_a_version_tells_other_weights(clip_folder):
    first, second = ClipFrames.load(clip_folder), ClipFrames.load(clip_folder)
    assert first.version == second.version
    changed = ClipFrames.load(clip_folder)
    changed.network.get_parameter("visual_projection.weight")[0, 0] += 1
    assert changed.version != first.version


def test_a_missing_network_is_one_clear_line():
    with pytest.raises(UserError, match="cannot load the network"):
        ClipFrames.load("/no/such/folder")


def test_weights_of_another_network_are_refused_and_never_drawn(videomae_folder, clip_folder):
    with pytest.raises(UserError, match=r"is no VideoMAE.*lacks"):
        VideoMae.load(clip_folder)
    with pytest.raises(UserError, match=r"is no CLIPVision.*lacks"):
        ClipFrames.load(videomae_folder)


def test_a_short_clip_shows_frames_twice():
    assert evenly_spaced(CLIP.video, 40).shape[0] == 40
