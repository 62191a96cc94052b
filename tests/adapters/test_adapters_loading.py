"""Checkpoints: what is missing, damaged or of another model is said in one line."""

import json
import math
import shutil

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from test_adapters_tiny import BUILDERS, load, motion_adapter, save
from transformers import GPT2Model

from mmdisco.errors import UserError

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    for name in BUILDERS:
        save(name, folder / name)
    return folder


@pytest.fixture
def saved(originals, tmp_path):
    """Copies, to be damaged."""

    def copy(name):
        return shutil.copytree(originals / name, tmp_path / name)

    return copy


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", BUILDERS)
def test_every_missing_file_is_named_with_its_folder_and_source(name, saved):
    folder = saved(name)
    lost = [UNET, "vae/config.json", "scheduler/scheduler_config.json", "tokenizer/tokenizer.json"]
    for file in lost:
        (folder / file).unlink()
    with pytest.raises(UserError) as error:
        load(name, folder)
    message = one_line(error)
    assert all(file in message for file in lost)
    assert "hf download" in message
    assert message.endswith(f"--local-dir {folder}")


def test_missing_files_of_both_sources_are_named_at_once(saved):
    folder = saved("animatediff")
    motion = folder / "motion_adapter"
    (folder / "vae" / "config.json").unlink()
    (motion / "config.json").unlink()
    with pytest.raises(UserError) as error:
        load("animatediff", folder)
    model, adapter = str(error.value).splitlines()
    assert f"vae/config.json in {folder}" in model
    assert f"config.json in {motion}" in adapter
    assert "hf download some/model-motion" in adapter


def test_an_image_model_and_a_motion_adapter_make_the_model(saved):
    folder = saved("animatediff")
    model = load("animatediff", folder)
    motion = load_file(folder / "motion_adapter" / "diffusion_pytorch_model.safetensors")
    name = next(key for key in motion if "attn1.to_q.weight" in key)
    assert torch.equal(model.pipe.unet.state_dict()[name], motion[name])
    assert model.pipe.motion_adapter is None  # its weights are not kept twice
    assert model.latent_shape(0.5) == torch.Size([4, 4, 8, 12])


def test_a_motion_adapter_of_another_family_is_refused(saved, tmp_path):
    motion_adapter((16, 16)).save_pretrained(tmp_path / "other")
    with pytest.raises(UserError, match="motion adapter does not fit"):
        load("animatediff", saved("animatediff"), motion=tmp_path / "other")


def test_a_language_model_without_a_head_is_read(saved):
    folder = saved("audioldm2")
    before = load("audioldm2", folder)
    bare = GPT2Model.from_pretrained(folder / "language_model")
    bare.save_pretrained(folder / "language_model")
    after = load("audioldm2", folder)
    x_t = torch.randn(1, *before.latent_shape(0.08))
    level = before.schedule.level(torch.tensor([500.0]))
    one, other = (
        model.predict_noise(x_t, level, model.encode_prompts(["a"])) for model in (before, after)
    )
    assert torch.equal(one, other)


@pytest.mark.parametrize("name", BUILDERS)
def test_a_file_cut_short_is_named(name, saved):
    folder = saved(name)
    with (folder / UNET).open("r+b") as file:
        file.truncate(20_000)
    with pytest.raises(UserError, match="cut short") as error:
        load(name, folder)
    assert str(folder / UNET) in one_line(error)


@pytest.mark.parametrize(("name", "other"), [("audioldm", "audioldm2"), ("audioldm2", "audioldm")])
def test_a_checkpoint_of_another_model_is_refused(name, other, saved):
    folder, given = saved(name), saved(other)
    shutil.rmtree(folder / "unet")
    shutil.copytree(given / "unet", folder / "unet")
    with pytest.raises(UserError, match="checkpoint of another model"):
        load(name, folder)


def altered(path, change):
    weights = load_file(path)
    change(weights)
    save_file(weights, path, {"format": "pt"})


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        (UNET, lambda own: own.pop("conv_in.weight"), "lack 1 tensors"),
        (UNET, lambda own: own.update({"more": torch.ones(1)}), "have besides 1 tensors"),
        (UNET, lambda own: own.update({"conv_in.bias": torch.ones(9)}), "cannot be loaded"),
        ("vocoder/model.safetensors", lambda own: own.pop("conv_pre.bias"), "lack 1 tensors"),
        (UNET, lambda own: own["conv_in.bias"].fill_(math.nan), "no numbers, in conv_in.bias"),
        (
            "vocoder/model.safetensors",
            lambda own: own["conv_pre.bias"].fill_(math.inf),
            "no numbers, in conv_pre.bias",
        ),
    ],
)
def test_weights_of_another_network_are_refused(saved, file, change, said):
    folder = saved("audioldm")
    altered(folder / file, change)
    with pytest.raises(UserError, match=said) as error:
        load("audioldm", folder)
    one_line(error)


def test_a_text_encoder_of_another_width_is_refused(saved):
    folder = saved("animatediff")
    config = json.loads((folder / "unet" / "config.json").read_text())
    narrow = {**config, "cross_attention_dim": 12}
    shutil.rmtree(folder / "unet")
    settings = {key: value for key, value in narrow.items() if not key.startswith("_")}
    UNet2DConditionModel(**settings).save_pretrained(folder / "unet")
    with pytest.raises(UserError, match="text of width 12"):
        load("animatediff", folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"_class_name": "NoScheduler"}, "names the scheduler NoScheduler"),
        ({"prediction_type": "score"}, "configured for 'score'"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, "no table of β"),
    ],
)
def test_a_scheduler_that_says_nothing_of_the_network_is_refused(saved, change, said):
    folder = saved("audioldm")
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UserError, match=said):
        load("audioldm", folder)


def test_weights_in_shards_are_read_and_a_lost_shard_is_named(saved):
    folder = saved("audioldm")
    whole = load("audioldm", folder)
    (folder / UNET).unlink()
    whole.pipe.unet.save_pretrained(folder / "unet", max_shard_size="100KB")
    again = load("audioldm", folder)
    assert torch.equal(again.pipe.unet.conv_in.weight, whole.pipe.unet.conv_in.weight)
    shard = sorted((folder / "unet").glob("*-of-*"))[0]
    shard.unlink()
    with pytest.raises(UserError, match=shard.name):
        load("audioldm", folder)


def test_weights_that_are_no_safetensors_are_read_too(saved):
    folder = saved("audioldm")
    weights = load_file(folder / UNET)
    (folder / UNET).unlink()
    torch.save(weights, folder / "unet" / "diffusion_pytorch_model.bin")
    unet = load("audioldm", folder).pipe.unet
    assert torch.equal(unet.conv_in.weight, weights["conv_in.weight"])
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match="cannot be loaded"):
        load("audioldm", folder)


def test_text_encoders_of_older_checkpoints_are_read(saved):
    folder = saved("animatediff")
    before = load("animatediff", folder).encode_prompts(["a dog"])
    path = folder / "text_encoder" / "model.safetensors"
    weights = {f"text_model.{key}": one for key, one in load_file(path).items()}
    weights["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    save_file(weights, path, {"format": "pt"})
    after = load("animatediff", folder).encode_prompts(["a dog"])
    assert torch.equal(after.pooled, before.pooled)


def test_old_names_of_attention_layers_are_known(saved):
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    folder = saved("audioldm")
    before = load("audioldm", folder).pipe.vae

    def rename(weights):
        for key in [key for key in weights if "attentions" in key]:
            new = key
            for name, old in names.items():
                new = new.replace(name, old)
            weights[new] = weights.pop(key)

    altered(folder / "vae" / "diffusion_pytorch_model.safetensors", rename)
    after = load("audioldm", folder).pipe.vae
    for key, value in before.state_dict().items():
        assert torch.equal(after.state_dict()[key], value)


def test_loading_gives_no_advice_to_programmers(originals, caplog):
    load("audioldm", originals / "audioldm")
    assert "deprecated" not in caplog.text
