"""A trained discriminator as a folder: written, read, carried to the hub, refused where unfit."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mmdisco.adapters.miniature.model import AUDIO_SHAPE, VIDEO_SHAPE
from mmdisco.cli.train import execute
from mmdisco.core.av import AV
from mmdisco.discriminators import hub as folders
from mmdisco.discriminators.convolutions import (
    FlatLatents,
    SpectrogramLatents,
    VideoLatents,
    WaveformLatents,
)
from mmdisco.discriminators.fusion import AdditiveFusionConfig
from mmdisco.discriminators.hub import PretrainedDiscriminator
from mmdisco.discriminators.two_tower import AudioVideoDiscriminator
from mmdisco.errors import UserError
from mmdisco.generation.config import SystemConfig
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.generation.presets.with_discriminator import WithDiscriminator
from mmdisco.training.config import DiscriminatorConfig, read_config
from mmdisco.training.discriminator_config import build_discriminator_config

SMALL = DiscriminatorConfig(
    width=8, depth=1, channel_mult=(1,), d_model=8, num_layers=1, num_heads=2
)


def network(audio=AUDIO_SHAPE, video=VIDEO_SHAPE, text=64, shape=SMALL):
    shapes = AV(torch.Size(audio), torch.Size(video))
    rates = shapes.map(lambda one: one[1] / 1.6)
    config = build_discriminator_config(shape, shapes, AV(text, text), rates)
    torch.manual_seed(0)
    return AudioVideoDiscriminator(config)


@pytest.fixture
def folder(tmp_path):
    PretrainedDiscriminator(network(), "embedded", {"one_sided": 0.3}).save(tmp_path / "own")
    return tmp_path / "own"


def test_folder_reads_back_what_was_written(folder):
    found = PretrainedDiscriminator.from_pretrained(folder)
    assert found.facts == {"one_sided": 0.3}
    own = network()
    assert found.network.config == own.config
    for name, value in own.state_dict().items():
        assert torch.equal(found.network.state_dict()[name], value)


def test_damaged_weights_are_refused(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(UserError, match="checksum"):
        PretrainedDiscriminator.load(folder)


def test_folder_goes_to_the_hub_without_logs_and_comes_back(folder, monkeypatch, tmp_path):
    seen = {}

    class Api:
        def create_repo(self, name, *, private, exist_ok):
            seen["repository"] = (name, private, exist_ok)

        def upload_folder(self, *, repo_id, folder_path, allow_patterns):
            seen["upload"] = (repo_id, folder_path, allow_patterns)
            return SimpleNamespace(commit_url="https://hub/commit")

    def download(name, *, revision, allow_patterns):
        assert (name, revision) == ("me/mine", "main")
        return str(folder)

    monkeypatch.setattr(folders, "HfApi", Api)
    monkeypatch.setattr(folders, "snapshot_download", download)
    assert (
        PretrainedDiscriminator.push_to_hub(folder, "me/mine", private=True) == "https://hub/commit"
    )
    assert seen["repository"] == ("me/mine", True, True)
    assert seen["upload"][:2] == ("me/mine", folder)
    assert not any("training" in pattern for pattern in seen["upload"][2])
    assert PretrainedDiscriminator.from_pretrained("me/mine", "main").preset == "embedded"


@pytest.mark.parametrize("name", ["no/where", "no such folder !"])
def test_name_of_nothing_is_refused(name):
    with pytest.raises(UserError, match="is no folder"):
        PretrainedDiscriminator.from_pretrained(name)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"audio": (8, 50, 16), "video": (4, 16, 32, 32)}, "sound latents of"),
        ({"video": (4, 16, 4, 4)}, "video latents of"),
        ({"text": 0}, "captions of width 0"),
    ],
)
def test_discriminator_of_other_latents_is_refused_in_one_line(other, said, tiny_pair, tmp_path):
    PretrainedDiscriminator(network(**other), "another").save(tmp_path)
    pair = WithDiscriminator(MiniatureSystem(tiny_pair), tmp_path, SystemConfig())
    with pytest.raises(UserError, match=said) as refused:
        pair.discriminator()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("audio", "video", "kinds"),
    [
        ((4, 32, 16), (4, 16, 8, 8), (FlatLatents, FlatLatents)),
        ((8, 50, 16), (4, 16, 32, 32), (SpectrogramLatents, VideoLatents)),
        ((1, 25_600), (3, 16, 64, 64), (WaveformLatents, VideoLatents)),
    ],
)
def test_shape_follows_from_latents(audio, video, kinds):
    config = network(audio, video, shape=SMALL).config
    assert (type(config.audio), type(config.video)) == kinds
    assert config.audio.fits(torch.Size(audio))
    assert config.video.fits(torch.Size(video))
    assert not config.video.fits(torch.Size(audio))


def test_fusion_is_chosen_by_name():
    shape = DiscriminatorConfig(fusion="additive", width=8)
    assert network(shape=shape).config.fusion == AdditiveFusionConfig()


@pytest.mark.parametrize("name", ["bad name!!", "a/b/c", "", "me/mine.git", "x" * 200])
def test_a_name_that_the_hub_cannot_take_is_refused_before_the_training(name):
    config = read_config(None, dict.fromkeys(("data", "fakes", "out"), Path("gone")), [])
    with pytest.raises(UserError, match="no id of the hub: give owner/name"):
        next(execute(config, name))
