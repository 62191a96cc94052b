import json
import math
import shutil
from dataclasses import replace

import pytest
import torch
from closeness import assert_close
from safetensors import safe_open

from mmdisco.adapters.miniature.model import TextEncoder
from mmdisco.core.av import AV
from mmdisco.core.guidance import IntervalScale
from mmdisco.errors import UserError
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.io.files import read_tensors
from mmdisco.training.bases.pair import pack

NETWORKS = (
    "text_encoder",
    "audio_autoencoder",
    "video_autoencoder",
    "audio_denoiser",
    "video_denoiser",
    "discriminator",
    "additive",
)


@pytest.fixture
def copied(tiny_pair, tmp_path):
    return shutil.copytree(tiny_pair, tmp_path / "pair")


def test_packed_networks_come_back_to_half_precision(tmp_path):
    network = TextEncoder(("a", "ball"))
    source = {"text_encoder": network.state_dict()}
    pack(source, {"words": ["a", "ball"]}, tmp_path / "pair", {"made by": "a test"})
    again = MiniatureSystem(tmp_path / "pair").text()
    assert again.vocabulary == network.vocabulary
    for key, value in network.state_dict().items():
        assert_close(again.state_dict()[key], value, rtol=1e-3)
    with safe_open(tmp_path / "pair" / "text_encoder.safetensors", "pt") as file:
        assert file.metadata() == {"made by": "a test"}


def test_files_are_half_precision_and_networks_single(tiny_pair):
    assert all(
        value.dtype == torch.float16
        for name in NETWORKS
        for value in read_tensors(tiny_pair / f"{name}.safetensors").values()
    )
    text = MiniatureSystem(tiny_pair).text()
    assert all(value.dtype == torch.float32 for value in text.state_dict().values())


def test_loaded_networks_are_frozen(tiny_pair):
    discriminator = MiniatureSystem(tiny_pair).discriminator()
    assert not discriminator.training
    assert not any(parameter.requires_grad for parameter in discriminator.parameters())


def test_discriminators_are_found_by_name(tiny_pair):
    folder = MiniatureSystem(tiny_pair)
    fusions = [type(folder.discriminator(name).fusion) for name in ("discriminator", "additive")]
    assert [fusion.__name__ for fusion in fusions] == ["CorrelationFusion", "AdditiveFusion"]


def test_settings_are_those_of_the_configuration(tiny_pair):
    sampling = MiniatureSystem(tiny_pair).sampling()
    assert sampling.cfg_scale == AV(1.5, 1.5)
    assert sampling.settings.steps == sampling.steps == 8
    assert sampling.settings.joint_scale == AV(
        IntervalScale(1.0, -math.inf, math.inf), IntervalScale(1.0, -math.inf, math.inf)
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_a_single_changed_bit_is_found(name, copied):
    path = copied / f"{name}.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"{name}.safetensors is damaged"):
        load_all(MiniatureSystem(copied))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_missing_file_is_named(name, copied):
    (copied / f"{name}.safetensors").unlink()
    with pytest.raises(UserError, match=f"{name}.safetensors is not there"):
        load_all(MiniatureSystem(copied))


def test_file_cut_short_is_found(copied):
    path = copied / "discriminator.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="is damaged"):
        MiniatureSystem(copied).discriminator()


def test_weights_of_another_network_are_refused(copied):
    config = json.loads((copied / "config.json").read_text())
    config["video_denoiser"]["width"] = 64
    (copied / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"video_denoiser\.safetensors holds another network"):
        MiniatureSystem(copied).model()


@pytest.mark.parametrize("content", [None, "{", b"\xff\xfe"])
def test_missing_or_damaged_configuration_is_one_line(content, tmp_path):
    if content is not None:
        file = tmp_path / "config.json"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=r"config\.json"):
        MiniatureSystem(tmp_path).sampling()


def load_all(folder):
    folder.model()
    folder.discriminator()
    folder.discriminator("additive")


def test_ends_of_joint_guidance_are_those_of_the_configuration(tiny_pair):
    usual = MiniatureSystem(tiny_pair).sampling()
    for low, high in ((None, None), (-5.0, None), (-7.5, 2.0)):
        ends = replace(usual, joint_min_logsnr=low, joint_max_logsnr=high).settings.joint_scale
        wanted = (-math.inf if low is None else low, math.inf if high is None else high)
        assert ends == AV(IntervalScale(1.0, *wanted), IntervalScale(1.0, *wanted))
