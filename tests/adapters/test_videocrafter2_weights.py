"""The published checkpoint of VideoCrafter2: converted once, whole, or refused in one line."""

import gzip
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_videocrafter2_tiny import DATA, PICTURE, TINY, TOKENIZER, built, checkpoint, published
from transformers import CLIPTextConfig, CLIPTextModel

from mmdisco.adapters.videocrafter2 import weights as keys
from mmdisco.adapters.videocrafter2.model import VideoCrafter2
from mmdisco.adapters.videocrafter2.unet import run_unet
from mmdisco.adapters.videocrafter2.weights import (
    PUBLISHED,
    convert,
    load_networks,
    translate,
)
from mmdisco.errors import UserError

WRITTEN = ("unet.safetensors", "autoencoder.safetensors", "text.safetensors", "config.json")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder whose checkpoint has been converted."""
    folder = published(tmp_path_factory.mktemp("whole"))
    load_networks(folder, TINY)
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(whole, tmp_path / "copy")


def saved(folder, record):
    torch.save(record, folder / "model.ckpt")
    return folder / "model.ckpt"


def refused(call, *arguments):
    with pytest.raises(UserError) as error:
        call(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("unet", 1_413_284_420), ("autoencoder", 83_653_863), ("text", 340_387_840)],
)
def test_published_sizes_have_the_published_number_of_parameters(name, parameters):
    network = vars(PUBLISHED.empty())[name]
    assert sum(one.numel() for one in network.parameters()) == parameters


def test_published_sizes_fit_together():
    """Without values: 16 frames of 256×256."""
    networks = PUBLISHED.empty()
    with torch.device("meta"):
        text = CLIPTextModel(networks.text.config)
        tokens = text(torch.zeros(1, 77, dtype=torch.int64)).last_hidden_state
        assert tokens.shape == (1, 77, 1024)
        x = torch.zeros(1, 4, 16, 32, 32)
        assert run_unet(networks.unet, x, torch.zeros(1), 8.0, tokens).shape == x.shape
        images = torch.zeros(1, 3, 256, 256)
        (posterior,) = networks.autoencoder.encode(images, return_dict=False)
        assert posterior.mean.shape == (1, 4, 32, 32)
        (decoded,) = networks.autoencoder.decode(torch.zeros(1, 4, 32, 32), return_dict=False)
        assert decoded.shape == images.shape


def test_every_published_name_is_known_and_fits():
    shapes = json.loads(gzip.decompress((DATA / "checkpoint.json.gz").read_bytes()))
    published = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    made = translate(published, PUBLISHED, Path("model.ckpt"))
    for name, network in vars(PUBLISHED.empty()).items():
        own = {key: one.shape for key, one in network.state_dict().items()}
        assert {key: one.shape for key, one in made[name].items()} == own
    prefixes = (keys.UNET_PREFIX, keys.AUTOENCODER_PREFIX, keys.TEXT_PREFIX)
    others = {key for key in shapes if not key.startswith(prefixes)}
    assert others == {*keys.SCHEDULE, *keys.DERIVED}


def test_a_conversion_leaves_files_that_need_no_checkpoint(folder):
    before = load_networks(folder)
    (folder / "model.ckpt").unlink()
    after = load_networks(folder)
    for one, other in zip(vars(before).values(), vars(after).values(), strict=True):
        assert all(
            torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items()
        )
        assert not any(parameter.is_meta for parameter in other.parameters())


def test_a_checkpoint_is_converted_once(folder):
    times = [(folder / name).stat().st_mtime_ns for name in WRITTEN]
    load_networks(folder)
    assert [(folder / name).stat().st_mtime_ns for name in WRITTEN] == times
    assert sorted(os.listdir(folder)) == sorted(["model.ckpt", *WRITTEN])


def test_another_checkpoint_in_its_place_is_converted_again(folder):
    state = checkpoint() | {"first_stage_model.post_quant_conv.bias": torch.full((4,), 7.0)}
    size = (folder / "model.ckpt").stat().st_size
    assert saved(folder, {"state_dict": state}).stat().st_size == size
    assert (load_networks(folder, TINY).autoencoder.post_quant_conv.bias == 7).all()


@pytest.mark.parametrize("name", WRITTEN)
def test_a_file_of_a_conversion_that_was_stopped_is_made_again(folder, name):
    (folder / name).unlink()
    load_networks(folder, TINY)
    assert (folder / name).is_file()


def test_the_wrapping_of_a_trainer_does_not_matter(folder):
    kept = load_file(folder / "unet.safetensors")
    for record in (
        checkpoint(),
        {"module": {f"_forward_module.{key}": one for key, one in checkpoint().items()}},
    ):
        convert(saved(folder, record), TINY)
        made = load_file(folder / "unet.safetensors")
        assert all(torch.equal(made[key], one) for key, one in kept.items())


def test_weights_in_half_precision_are_taken(folder):
    halves = {key: one.half() for key, one in checkpoint().items()}
    convert(saved(folder, {"state_dict": halves}), TINY)
    assert load_networks(folder).unet.dtype == torch.float16


def test_missing_files_are_named_with_source_and_folder(tmp_path):
    place, words = tmp_path / "model", tmp_path / "words"
    place.mkdir()
    words.mkdir()
    with pytest.raises(UserError) as error:
        VideoCrafter2.from_pretrained(place, words, PICTURE)
    message = str(error.value)  # a line for each checkpoint
    assert f"model.ckpt in {place}" in message
    assert "VideoCrafter/VideoCrafter2" in message
    assert f"in {words}" in message
    assert "tokenizer_config.json" in message
    assert "openai/clip-vit-large-patch14" in message


def test_a_folder_without_the_checkpoint_is_enough(folder):
    (folder / "model.ckpt").unlink()
    assert VideoCrafter2.from_pretrained(folder, TOKENIZER, PICTURE).latent_shape(1.0)[1] == 8


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_checkpoint_that_is_cut_short_is_refused(folder, share):
    path = folder / "model.ckpt"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert refused(load_networks, folder, TINY).startswith(f"{path} is damaged or")


def test_converted_weights_that_are_cut_short_are_refused(folder):
    path = folder / "text.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert refused(load_networks, folder).startswith(f"{path} is damaged")


def without(key):
    return {name: one for name, one in checkpoint().items() if name != key}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (without("model.diffusion_model.out.2.bias"), "it lacks conv_out.bias"),
        (without("betas"), "it lacks betas"),
        (
            checkpoint() | {"model.diffusion_model.out.2.bias": torch.zeros(5)},
            r"has conv_out.bias of shape \(5,\), not \(4,\)",
        ),
        (
            checkpoint() | {"model.diffusion_model.out.7.bias": torch.zeros(4)},
            "it has out.7.bias",
        ),
        (
            checkpoint() | {"model.diffusion_model.out.2.bias": torch.zeros(4, dtype=torch.int8)},
            "it has conv_out.bias of type torch.int8",
        ),
        (
            checkpoint() | {"model.diffusion_model.conv_out.bias": torch.zeros(4)},
            "holds another network, some weights twice",
        ),
        (
            checkpoint() | {"first_stage_model.more.bias": torch.zeros(4)},
            "holds another network, its autoencoder is strange",
        ),
        (
            checkpoint()
            | {"cond_stage_model.model.transformer.resblocks.0.attn.in_proj_bias": torch.zeros(())},
            "is damaged",
        ),
        (checkpoint() | {"embedder.weight": torch.zeros(4)}, "holds more, embedder.weight"),
        (
            checkpoint() | {"first_stage_model.quant_conv.bias": torch.full((8,), torch.nan)},
            "holds values that are no numbers, in quant_conv.bias",
        ),
        (
            checkpoint() | {"betas": torch.linspace(0.00085, 0.012, 1000)},
            "was trained on other noise levels, its betas",
        ),
        (
            checkpoint() | {"scale_arr": torch.ones(1400)},
            "was trained on other noise levels, its scale_arr",
        ),
        ({"a": torch.zeros(1)}, "it lacks betas"),
        ({}, "holds no state dict"),
        ({"betas": [1, 2]}, "or more than one"),
        ([torch.zeros(1)], "holds no state dict"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused_and_nothing_is_written(tmp_path, state, message):
    path = saved(tmp_path, {"state_dict": state})
    with pytest.raises(UserError, match=message) as error:
        convert(path, TINY)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)
    assert os.listdir(tmp_path) == ["model.ckpt"]


def test_a_checkpoint_of_another_size_is_refused_in_one_line(folder):
    message = refused(convert, folder / "model.ckpt")
    assert "holds another network" in message
    assert len(message) < 600
    assert "take model.ckpt of VideoCrafter/VideoCrafter2" in message


class Program:
    """Runs when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


def test_a_pickle_that_would_run_a_program_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path, {"state_dict": Program()})
    assert "could run programs" in refused(convert, path, TINY)
    assert os.listdir(tmp_path) == ["model.ckpt"]


def test_values_that_were_spoilt_after_the_conversion_are_refused(folder):
    path = folder / "unet.safetensors"
    tensors = load_file(path)
    tensors["conv_in.bias"][3] = torch.inf
    save_file(tensors, path)
    assert "no numbers, in conv_in.bias" in refused(load_networks, folder)


@pytest.mark.parametrize("content", ["[]", "{", '{"unet": {"depth": 3}}'])
def test_a_damaged_configuration_is_named(folder, content):
    (folder / "model.ckpt").unlink()
    (folder / "config.json").write_text(content)
    assert refused(load_networks, folder).startswith(f"{folder / 'config.json'} is")


def test_parts_of_different_checkpoints_are_refused(folder):
    parts = built(folder).parts
    narrow = CLIPTextConfig(hidden_size=16, intermediate_size=8, num_hidden_layers=1, vocab_size=8)
    wrong = replace(parts, text_encoder=CLIPTextModel(narrow))
    assert "text of width 12" in refused(VideoCrafter2, wrong, PICTURE)
