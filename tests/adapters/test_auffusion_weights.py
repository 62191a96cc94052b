"""The published files of Auffusion: read once as pickles, whole, or refused in one line."""

import json
import os
import shutil

import pytest
import torch
from closeness import assert_close
from safetensors.torch import load_file, save_file
from test_auffusion_tiny import ENCODERS, VOCODER, published

from mmdisco.adapters.auffusion.model import Auffusion
from mmdisco.adapters.auffusion.weights import load_adapter, load_vocoder
from mmdisco.errors import UserError


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return published(tmp_path_factory.mktemp("auffusion"))


@pytest.fixture
def folder(whole, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(whole, tmp_path / "copy")


def refused(call, *arguments):
    with pytest.raises(UserError) as error:
        call(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_pickles_are_converted_once_and_then_not_needed(folder):
    vocoder, adapter = load_vocoder(folder), load_adapter(folder)
    (folder / "vocoder" / "vocoder.pt").unlink()
    (folder / "condition_adapter_0" / "condition_adapter.pt").unlink()
    for before, after in ((vocoder, load_vocoder(folder)), (adapter, load_adapter(folder))):
        state = after.state_dict()
        assert all(torch.equal(value, state[key]) for key, value in before.state_dict().items())
        assert not any(one.requires_grad or one.is_meta for one in after.parameters())
    assert Auffusion.from_pretrained(folder).latent_shape(2.0)[1] == 25


def test_direction_and_length_become_one_weight(folder):
    path = folder / "vocoder" / "vocoder.pt"
    record = torch.load(path, weights_only=True)["generator"]
    fused = load_vocoder(folder).conv_post.weight
    length, direction = record["conv_post.weight_g"], record["conv_post.weight_v"]
    assert_close(fused, length * direction / direction.norm())
    # of an upsampling convolution, too, there is a length for each of the first axis
    upsampler = load_vocoder(folder).get_parameter("upsampler.0.weight")
    lengths = record["ups.0.weight_g"].flatten()
    assert_close(upsampler.flatten(1).norm(dim=1), lengths)


def test_missing_files_are_named_with_source_and_folder(tmp_path):
    message = refused(Auffusion.from_pretrained, tmp_path)
    for name in (
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "scheduler/scheduler_config.json",
        "text_encoder_0/model.safetensors",
        "text_encoder_0/tokenizer_config.json",
        "condition_config.json",
        "condition_adapter_0/condition_adapter.pt",
        "vocoder/vocoder.pt",
        f"in {tmp_path}",
        "auffusion/auffusion-full",
    ):
        assert name in message


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("name", ["vocoder/vocoder.pt", "condition_adapter_0/condition_adapter.pt"])
def test_pickles_that_are_cut_short_are_refused(folder, name, share):
    path = folder / name
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    before = sorted(os.listdir(path.parent))
    assert refused(Auffusion.from_pretrained, folder).startswith(f"{path} is damaged")
    assert sorted(os.listdir(path.parent)) == before


def test_safetensors_that_are_cut_short_are_refused(folder):
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert str(path) in refused(Auffusion.from_pretrained, folder)


class Program:
    """Runs when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


def test_a_pickle_that_would_run_a_program_is_refused(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"generator": Program()}, folder / "vocoder" / "vocoder.pt")
    assert "could run programs" in refused(load_vocoder, folder)
    assert not (tmp_path / "ran").exists()


def spoilt(folder, change):
    path = folder / "vocoder" / "vocoder.pt"
    weights = torch.load(path, weights_only=True)["generator"]
    torch.save(change(weights), path)
    return refused(load_vocoder, folder)


def without(weights, key):
    return {name: one for name, one in weights.items() if name != key}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: {"generator": without(w, "conv_pre.bias")}, "it lacks conv_pre.bias"),
        (lambda w: {"generator": without(w, "conv_pre.weight_g")}, "holds half of its weights"),
        (lambda w: {"generator": without(w, "conv_pre.weight_v")}, "it lacks conv_pre.weight"),
        (lambda w: {"generator": w | {"conv_pre.bias": torch.ones(3)}}, "of shape (3,), not (16,)"),
        (lambda w: {"generator": w | {"more": torch.ones(3)}}, "it has more"),
        (
            lambda w: {"generator": w | {"conv_post.bias": torch.tensor([torch.nan])}},
            "no numbers, in conv_post.bias",
        ),
        (lambda w: {"generator": w | {"steps": 4}}, "or more than one"),
        (lambda w: {"generator": {}}, "holds no state dict"),
        (lambda w: w, "holds no generator"),
        (lambda w: list(w.values()), "holds no generator"),
    ],
)
def test_another_vocoder_is_refused_and_nothing_is_written(folder, change, message):
    found = spoilt(folder, change)
    assert message in found
    assert found.startswith(str(folder / "vocoder" / "vocoder.pt"))
    assert sorted(os.listdir(folder / "vocoder")) == ["config.json", "vocoder.pt"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (VOCODER | {"resblock": "2"}, "another kind of HiFi-GAN"),
        (VOCODER | {"upsample_kernel_sizes": [3, 8, 8, 4]}, "another kind of HiFi-GAN"),
        (VOCODER | {"upsample_kernel_sizes": [10, 8, 8, 4]}, "upsampler.0.weight"),
        (VOCODER | {"upsample_rates": [5, 4]}, "no configuration of a HiFi-GAN"),
        ({"model_type": "hifigan"}, "no configuration of a HiFi-GAN"),
        ([], "no configuration of a HiFi-GAN"),
        (VOCODER | {"upsample_initial_channel": 32}, "holds another network"),
    ],
)
def test_a_vocoder_of_another_shape_is_refused(folder, config, message):
    (folder / "vocoder" / "config.json").write_text(json.dumps(config))
    assert message in refused(load_vocoder, folder)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"condition_dim": 8}, "no configuration of an adapter"),
        ([], "no configuration of an adapter"),
        ({"condition_dim": 9, "cross_attention_dim": 12}, "has proj.weight of shape (12, 8)"),
    ],
)
def test_an_adapter_of_another_shape_is_refused(folder, config, message):
    (folder / "condition_adapter_0" / "config.json").write_text(json.dumps(config))
    assert message in refused(load_adapter, folder)


@pytest.mark.parametrize(
    "listed", [[*ENCODERS, *ENCODERS], [], {}, [ENCODERS[0] | {"condition_max_length": 64}]]
)
def test_other_text_encoders_are_refused(folder, listed):
    (folder / "condition_config.json").write_text(json.dumps(listed))
    assert "not that of one text encoder" in refused(Auffusion.from_pretrained, folder)


@pytest.mark.parametrize("name", ["unet", "vae"])
def test_values_that_are_no_numbers_are_refused(folder, name):
    path = folder / name / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    key = next(iter(tensors))
    tensors[key].view(-1)[0] = torch.nan
    save_file(tensors, path, {"format": "pt"})
    message = refused(Auffusion.from_pretrained, folder)
    assert message.startswith(f"{folder / name} holds values that are no numbers, in {key}")
