"""Published files of MM-Diffusion, converted at the first load: see ``mmdisco.io.conversion``.

A name of a weight that no rule matches is kept, and so is reported as unknown.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from mmdisco.adapters import openai_unet
from mmdisco.adapters.mmdiffusion.config import JOINT, UPSCALER, JointConfig, UpscalerConfig
from mmdisco.adapters.mmdiffusion.network import JointNetwork
from mmdisco.adapters.mmdiffusion.super_resolution import UpscalerNetwork
from mmdisco.io.conversion import PublishedNetwork
from mmdisco.io.files import understood
from mmdisco.io.pickles import Rules, renamed

ADVICE: Final = "get MM-Diffusion's weights from https://github.com/researchmm/MM-Diffusion"

JOINT_NAMES: Final[Rules] = (
    (r"^time_embed\.0\.", "time.first."),
    (r"^time_embed\.2\.", "time.second."),
    (r"^input_blocks\.(\d+)\.(\d+)\.", r"encoder.\1.parts.\2."),
    (r"^middle_blocks\.", "middle."),
    (r"^output_blocks\.(\d+)\.(\d+)\.", r"decoder.\1.parts.\2."),
    (r"^(audio|video)_out\.0\.", r"\1_head.norm."),
    (r"^(audio|video)_out\.2\.", r"\1_head.convolution."),
    (r"\bemb_layers\.1\.", "modulation."),
    (r"\b(audio|video)_in_layers\.0\.", r"\1.norm."),
    (r"\b(audio|video)_in_layers\.2\.", r"\1.wide."),
    (r"\b(audio|video)_out_layers\.0\.", r"\1.inner_norm."),
    (r"\b(audio|video)_out_layers\.3\.", r"\1.last."),
    (r"\b(audio|video)_skip_connection\.", r"\1.skip."),
    (r"\baudio_attention_block\.", "audio.attention.0.attention."),
    (r"\bspatial_attention_block\.", "video.attention.0.attention."),
    (r"\btemporal_attention_block\.", "video.attention.1.attention."),
    (r"\ba_(norm|qkv)\.", r"audio.\1."),
    (r"\bv_(norm|qkv)\.", r"video.\1."),
    (r"\b(audio|video)_proj_out\.", r"\1.out."),
    (r"\bproj_out\.", "out."),
    # the published names repeat what they belong to
    (r"\bvideo_conv_(spatial|temporal)\.", r"\1."),
    (r"(^encoder\.0\.parts\.0)\.(audio|video)_conv\.", r"\1.\2."),
    (r"\b(audio|video)_conv\.", ""),
    (r"\bGroupNorm\.", ""),
)

_PART: Final = r"^((?:down|up)_blocks\.\d+)"
UPSCALER_NAMES: Final[Rules] = (
    (r"^time_embed\.0\.", "time_embedding.linear_1."),
    (r"^time_embed\.2\.", "time_embedding.linear_2."),
    (r"^middle_block\.0\.", "mid_block.resnets.0."),
    (r"^middle_block\.1\.", "mid_block.attentions.0."),
    (r"^middle_block\.2\.", "mid_block.resnets.1."),
    (rf"{_PART}\.(\d+)\.[12]\.(norm|qkv|proj_out)\.", r"\1.attentions.\2.\3."),
    (rf"{_PART}\.\d+\.[12]\.", r"\1.upsamplers.0."),
    (rf"{_PART}\.(\d+)\.0\.", r"\1.resnets.\2."),
    (r"(attentions\.\d+)\.norm\.", r"\1.group_norm."),
    (r"(attentions\.\d+)\.proj_out\.", r"\1.to_out.0."),
    *openai_unet.RESBLOCK,
)


def upscaler_weights(
    published: Mapping[str, Tensor], config: UpscalerConfig, path: Path
) -> dict[str, Tensor]:
    """Rename the weights of the super-resolution network, and part its joint projections.

    Args:
        published: Weights by their published names.
        config: Shape of the network.
        path: File of the weights, for the message.

    Raises:
        UserError: Two weights get the same name, or are of strange shapes.
    """
    # the block after each level's residual blocks halves the frame
    halving = (rf"^(down_blocks\.\d+)\.{config.depth}\.0\.", r"\1.downsamplers.0.")
    rules = (*openai_unet.levels(config.depth), halving, *UPSCALER_NAMES)
    weights: dict[str, Tensor] = {}
    with understood(path):
        for name, value in renamed(published, rules, path).items():
            stem, joined, kind = name.partition("qkv.")
            if joined:
                # (heads · 3 · d, …) -> three of (heads · d, …)
                by_head = value.unflatten(0, (config.heads, 3, -1))
                thirds = zip(("to_q", "to_k", "to_v"), by_head.unbind(1), strict=True)
                weights |= {f"{stem}{part}.{kind}": one.flatten(0, 1) for part, one in thirds}
            else:
                weights[name] = value
    return weights


def load_joint(path: Path, config: JointConfig = JOINT) -> JointNetwork:
    """Load the joint network, frozen, in single precision.

    Args:
        path: ``AIST++.pt`` or ``landscape.pt`` as published, or the folder ``AIST++.pt.converted``
            that it was converted to, which is sufficient by itself.
        config: Shape of the network in a published file; a folder knows its own.

    Raises:
        UserError: The file is missing, cut short or damaged, holds another network or numbers that
            are not finite, or its conversion cannot be written.
    """
    published = PublishedNetwork(
        name="MM-Diffusion's joint network",
        shape=config.to_record(),
        build=lambda record: JointNetwork(JointConfig.from_record(record)),
        rename=lambda weights, file: renamed(weights, JOINT_NAMES, file),
        advice=lambda _: ADVICE,
    )
    network = published.load(path)
    for weight in network.parameters():
        if weight.ndim == 4:
            # channels innermost, as all layers have them, or each evaluation would reorder it
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    return network


def load_upscaler(path: Path, config: UpscalerConfig = UPSCALER) -> UpscalerNetwork:
    """Load the super-resolution network, frozen, in single precision.

    Args:
        path: The file as published, or the folder that it was converted to.
        config: Shape of the network in a published file; a folder knows its own.

    Raises:
        UserError: As of ``load_joint``.
    """
    published = PublishedNetwork(
        name="MM-Diffusion's upscaler",
        shape=config.to_record(),
        build=lambda record: UpscalerNetwork(UpscalerConfig.from_record(record)),
        rename=lambda weights, file: {
            f"unet.{name}": one for name, one in upscaler_weights(weights, config, file).items()
        },
        advice=lambda _: ADVICE,
    )
    return published.load(path)
