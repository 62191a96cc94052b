"""A VideoCrafter2 of a few thousand weights, as a checkpoint by the published names."""

import gzip
import json
import math
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from mmdisco.adapters.videocrafter2.codec import VideoSpec
from mmdisco.adapters.videocrafter2.model import VideoCrafter2
from mmdisco.adapters.videocrafter2.unet import clean_scales, training_betas
from mmdisco.adapters.videocrafter2.weights import Architecture, convert

DATA = Path(__file__).parents[1] / "golden" / "data" / "videocrafter2"
TOKENIZER = DATA / "tokenizer"
PICTURE = VideoSpec(16, 24, Fraction(8))
TINY = Architecture(
    {
        # norms of one channel a group would take the level away again
        "block_out_channels": (32, 64),
        "down_block_types": ("CrossAttnDownBlock3D",) * 2,
        "up_block_types": ("CrossAttnUpBlock3D",) * 2,
        "layers_per_block": 1,
        "attention_head_dim": 8,
        "cross_attention_dim": 12,
    },
    {
        "block_out_channels": (32, 32),
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "layers_per_block": 1,
    },
    {
        "hidden_size": 12,
        "intermediate_size": 48,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "hidden_act": "gelu",
    },
)
TOWER = {
    "positional_embedding": (77, 12),
    "token_embedding.weight": (49_408, 12),
    "text_projection": (12, 8),
    "logit_scale": (),
    "ln_final.weight": (12,),
    "ln_final.bias": (12,),
}
TOWER_BLOCK = {
    "ln_1.weight": (12,),
    "ln_1.bias": (12,),
    "attn.in_proj_weight": (36, 12),
    "attn.in_proj_bias": (36,),
    "attn.out_proj.weight": (12, 12),
    "attn.out_proj.bias": (12,),
    "ln_2.weight": (12,),
    "ln_2.bias": (12,),
    "mlp.c_fc.weight": (48, 12),
    "mlp.c_fc.bias": (48,),
    "mlp.c_proj.weight": (12, 48),
    "mlp.c_proj.bias": (12,),
}


def checkpoint():
    """The state dict of a published checkpoint, at the tiny size."""
    drawn = json.loads(gzip.decompress((DATA / "parameters.json.gz").read_bytes()))
    shapes = dict(drawn["videocrafter"]["shapes"])
    tower = dict(TOWER)
    for block in range(3):
        tower |= {f"transformer.resblocks.{block}.{key}": one for key, one in TOWER_BLOCK.items()}
    shapes |= {f"cond_stage_model.model.{key}": one for key, one in tower.items()}
    generator = torch.Generator().manual_seed(0)
    weights = {key: drawn_like(key, shape, generator) for key, shape in shapes.items()}
    # the published table of scales has 400 entries more than there are timesteps
    scales = torch.cat([clean_scales().float(), torch.full((400,), 0.7)])
    return weights | {"betas": training_betas().float(), "scale_arr": scales}


def drawn_like(key, shape, generator):
    """Values that let a signal through: norms near 1, everything else by the width of its input."""
    value = torch.randn(shape, generator=generator)
    if len(shape) > 1:
        return value / math.sqrt(math.prod(shape[1:]))
    return 0.1 * value + (1 if key.endswith("weight") else 0)


def published(folder):
    """A folder as it is downloaded."""
    torch.save({"state_dict": checkpoint()}, folder / "model.ckpt")
    return folder


def built(folder, **options):
    """The model of a folder that ``published`` has made."""
    if not (folder / "config.json").exists():
        convert(folder / "model.ckpt", TINY)
    return VideoCrafter2.from_pretrained(folder, TOKENIZER, **({"picture": PICTURE} | options))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return published(tmp_path_factory.mktemp("videocrafter2"))


def test_the_tiny_model_makes_two_frames(folder):
    model = built(folder)
    assert model.latent_shape(0.25) == torch.Size([4, 2, 8, 12])
