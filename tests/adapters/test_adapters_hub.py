"""Checkpoints by their id: the cache first, then the hub, then one clear line."""

import shutil
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file
from test_adapters_tiny import SECONDS, save

from mmdisco.adapters import checkpoint
from mmdisco.adapters.components import AUDIOLDM
from mmdisco.adapters.stock.pretrained import load_pipeline, unguided_audio
from mmdisco.errors import UserError

VAE = "vae/diffusion_pytorch_model.safetensors"
UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    save("audioldm", folder / "audioldm")
    return folder


def load(source):
    found = checkpoint.find(source, AUDIOLDM, torch.float32, "some/model")
    return unguided_audio(load_pipeline("AudioLDMPipeline", [(found, AUDIOLDM)]))


def test_what_is_no_folder_and_no_id_is_refused():
    with pytest.raises(UserError, match="no folder, and no id"):
        load("no/such/folder")


def cache(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models--some--model"


def test_an_id_that_is_not_cached_is_refused_with_all_its_files(monkeypatch, tmp_path):
    place = cache(monkeypatch, tmp_path)
    with pytest.raises(UserError) as error:
        load("some/model")
    message = str(error.value)
    assert "\n" not in message
    assert UNET in message
    assert "vocoder/config.json" in message
    assert str(place) in message
    # into the cache, where it is looked for
    assert "hf download some/model " in message
    assert "--local-dir" not in message


def test_an_id_is_read_from_the_cache(monkeypatch, tmp_path, originals):
    place = cache(monkeypatch, tmp_path)
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0" * 40)
    shutil.copytree(originals / "audioldm", place / "snapshots" / ("0" * 40))
    model = load("some/model")
    assert model.latent_shape(SECONDS["audio"])[1] == 160


def test_only_what_is_needed_of_an_id_is_downloaded(monkeypatch, tmp_path, originals):
    asked = []
    source, target = originals / "audioldm", tmp_path / "downloaded"
    remote = shutil.copytree(source, tmp_path / "remote")
    weights = load_file(remote / UNET)
    (remote / UNET).unlink()
    torch.save(weights, remote / "unet" / "diffusion_pytorch_model.bin")
    shutil.copy(remote / VAE, (remote / VAE).with_suffix(".bin"))

    def download(repository, allow_patterns=("**/*",), *, dry_run=False):
        files = [file for one in allow_patterns for file in remote.glob(one) if file.is_file()]
        names = [file.relative_to(remote) for file in files]
        if dry_run:
            return [SimpleNamespace(filename=str(name)) for name in names]
        asked.extend(map(str, names))
        for name in names:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(remote / name, target / name)
        return str(target)

    cache(monkeypatch, tmp_path)
    monkeypatch.setattr(checkpoint, "snapshot_download", download)
    model = load("some/model")
    assert torch.equal(model.pipe.unet.conv_in.weight, weights["conv_in.weight"])
    assert VAE in asked
    assert [name for name in asked if "bin" in name] == ["unet/diffusion_pytorch_model.bin"]
    assert "model_index.json" not in asked
