"""Presets that are two pipelines by their ids: files, sizes and bills without any weights."""

from typing import Any

import fullsize
import pytest
import torch
from diffusers import ModelMixin

from mmdisco import UserError
from mmdisco.core.av import AV
from mmdisco.generation.bill import bill_of, outline_of
from mmdisco.generation.config import GenerateConfig, SystemConfig
from mmdisco.generation.presets.registry import preset, system_of
from mmdisco.generation.resolve import check, resolve

SIZES = {
    "Wan-AI/Wan2.1-T2V-1.3B-Diffusers": "Wan 2.1 1.3B",
    "Wan-AI/Wan2.2-TI2V-5B-Diffusers": "Wan 2.2 5B",
    "hunyuanvideo-community/HunyuanVideo-1.5-Diffusers-480p_t2v": "HunyuanVideo 1.5",
    "zai-org/CogVideoX-2b": "CogVideoX 2B",
    "stabilityai/stable-audio-open-1.0": "Stable Audio 1",
    "stabilityai/stable-audio-3-medium": "Stable Audio 3",
    "cvssp/audioldm2": "AudioLDM 2",
}
PRESETS = [
    "stableaudio-wan21",
    "stableaudio-wan22",
    "stableaudio-hunyuanvideo15",
    "stableaudio3-wan22",
    "stableaudio3-hunyuanvideo15",
    "audioldm2-cogvideox",
]


@pytest.fixture(autouse=True)
def no_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def networks_of(pipe):
    return {
        name: part for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)
    }


def write_configuration(pipe, folder):
    """Write a pipeline as ``save_pretrained`` does, without its weights."""
    pipe.save_config(folder)
    for name, part in pipe.components.items():
        if isinstance(part, ModelMixin):
            part.save_config(folder / name)
        elif isinstance(part, torch.nn.Module):
            config: Any = part.config
            config.save_pretrained(folder / name)
        elif part is not None:
            part.save_pretrained(folder / name)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_of_two_pipelines_is_named_with_its_files(name, tmp_path):
    found = preset(name)
    assert found.form.frames == found.form.seconds * found.form.fps
    assert not any(found.present(SystemConfig(weights=tmp_path)))
    config = GenerateConfig(prompt="a", preset=name, weights=tmp_path, no_joint_guidance=True)
    with pytest.raises(UserError, match="lacks files") as error:
        check(resolve(config, system_of(config)), system_of(config))
    assert str(error.value).count("hf download") == 2
    with pytest.raises(UserError, match="lacks files") as error:
        check(resolve(config, outline_of(config)), outline_of(config))
    assert ".safetensors" not in str(error.value)  # a bill needs configurations alone
    with pytest.raises(UserError, match="leave --as-released out"):
        found.as_released()


@pytest.mark.parametrize("source", SIZES)
def test_gigabytes_are_those_of_the_published_sizes(source):
    (ref,) = {
        one.source: one
        for name in PRESETS
        for one in preset(name).components
        if one.source == source
    }.values()
    networks = networks_of(fullsize.build(SIZES[source])[0]).values()
    count = sum(parameter.numel() for one in networks for parameter in one.parameters())
    assert ref.gigabytes == pytest.approx(4 * count / 1e9, abs=0.06)


@pytest.mark.parametrize(
    "name",
    [
        "stableaudio-wan21",
        "stableaudio3-wan22",
        "stableaudio-hunyuanvideo15",
        "audioldm2-cogvideox",
    ],
)
def test_a_bill_of_a_preset_needs_no_weights(name, tmp_path):
    """Full-size configurations, at a small size and few steps."""
    refs = preset(name).components
    pipes = [fullsize.build(SIZES[ref.source])[0] for ref in refs]
    for ref, pipe in zip(refs, pipes, strict=True):
        write_configuration(pipe, tmp_path / ref.folder)
    config = GenerateConfig(
        prompt="a dog",
        preset=name,
        weights=tmp_path,
        no_joint_guidance=True,
        frames=9,
        size=(96, 160),
        steps=2,
        dtype="bfloat16",
    )
    outline = outline_of(config)
    resolved = resolve(config, outline)
    assert check(resolved, outline) == []
    bill = bill_of(resolved)
    for side, pipe in zip(("audio", "video"), pipes, strict=True):
        for part, network in networks_of(pipe).items():
            (own,) = (one for one in bill.networks if (one.side, one.name) == (side, part))
            assert own.parameters == sum(one.numel() for one in network.parameters())
    denoisers = {one.side: one for one in bill.networks if one.name in ("transformer", "unet")}
    assert all(one.passes for one in denoisers.values())
    assert bill.steps == AV(2, 2)
