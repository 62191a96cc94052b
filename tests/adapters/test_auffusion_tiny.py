"""An Auffusion of a few thousand weights, as a folder by the published names."""

import json
import math

import pytest
import torch
from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from mmdisco.adapters.auffusion.model import Auffusion
from mmdisco.adapters.auffusion.prompts import ConditionAdapter
from mmdisco.adapters.auffusion.weights import new_vocoder

VOCODER = {
    "resblock": "1",
    "upsample_rates": [5, 4, 4, 2],
    "upsample_kernel_sizes": [11, 8, 8, 4],
    "upsample_initial_channel": 16,
    "resblock_kernel_sizes": [3],
    "resblock_dilation_sizes": [[1, 3, 5]],
    "num_mels": 256,
    "sampling_rate": 16000,
    "fmin": 0,
    "fmax": None,
}
ENCODERS = [
    {
        "text_encoder_name": "text_encoder_0",
        "condition_adapter_name": "condition_adapter_0",
        "condition_max_length": 77,
    }
]
# a token a letter
WORDS = ["<|startoftext|>", "<|endoftext|>", *"adgor", "a</w>", "g</w>", "r</w>"]


def published(folder):
    """A folder as it is downloaded."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = UNet2DConditionModel(
            sample_size=32,
            layers_per_block=1,
            block_out_channels=(8, 16),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=12,
            attention_head_dim=4,
            norm_num_groups=4,
        )
        vae = AutoencoderKL(
            block_out_channels=(4, 4, 4, 8),
            layers_per_block=1,
            norm_num_groups=4,
            scaling_factor=0.5,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
        )
        text = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(WORDS),
                hidden_size=8,
                num_attention_heads=2,
                num_hidden_layers=1,
                intermediate_size=8,
                max_position_embeddings=77,
            )
        )
        adapter = ConditionAdapter(8, 12)
        vocoder = new_vocoder(VOCODER, folder)
    scheduler = PNDMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    unet.save_pretrained(folder / "unet")
    vae.save_pretrained(folder / "vae")
    scheduler.save_pretrained(folder / "scheduler")
    text.save_pretrained(folder / "text_encoder_0")
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder / "text_encoder_0")
    write(folder / "condition_config.json", ENCODERS)
    write(
        folder / "condition_adapter_0" / "config.json",
        {"condition_dim": 8, "cross_attention_dim": 12},
    )
    torch.save(adapter.state_dict(), folder / "condition_adapter_0" / "condition_adapter.pt")
    write(folder / "vocoder" / "config.json", VOCODER)
    torch.save({"generator": unfused(vocoder)}, folder / "vocoder" / "vocoder.pt")
    return folder


def write(path, record):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record))


def unfused(vocoder):
    """Weights as direction and length, by HiFi-GAN's names."""
    state = {}
    for key, value in vocoder.state_dict().items():
        key = key.replace("upsampler.", "ups.")
        if key.endswith(".weight"):
            state[f"{key}_g"] = value.flatten(1).norm(dim=1).reshape(-1, 1, 1)
            state[f"{key}_v"] = value * math.pi
        elif key not in ("mean", "scale"):
            state[key] = value
    return state


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return published(tmp_path_factory.mktemp("auffusion"))


def test_the_tiny_model_makes_two_seconds(folder):
    model = Auffusion.from_pretrained(folder)
    assert model.latent_shape(2.0) == torch.Size([4, 25, 32])
