"""Map between the release's names of weights and this package's.

The release keeps both modalities in one block, here each has a half; and its convolutions of
one tap are matrices here. Shapes differ by axes of length 1, and by nothing else.
"""

import functools
import re
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from mmdisco.discriminators.official.config import PUBLISHED, OfficialConfig
from mmdisco.discriminators.official.network import ReleasedDiscriminator
from mmdisco.errors import UserError

PREFIX: Final = "residual_predictor."

_HALF: Final = r"^blocks\.(\d+)\.(audio|video)"
_BLOCK: Final = r"feature_extractor.input_blocks.\1.0"
_LAYER: Final = r"fusion_model.fm.attn_layers.layers.\1"
# this package's names to the release's, each applied to the result of those before it
_NAMES: Final = tuple(
    (re.compile(ours), released)
    for ours, released in (
        (r"^time\.first\.", "time_embed.projection.linear_1."),
        (r"^time\.second\.", "time_embed.projection.linear_2."),
        (r"^(audio|video)_text\.", r"\1_text_embed."),
        (r"^last\.", "last_linear."),
        # the first block
        (r"^blocks\.(0)\.(audio|video)\.norm\.modulation\.", rf"{_BLOCK}.\2_norm."),
        (r"^blocks\.(0)\.(audio|video)\.wide\.", rf"{_BLOCK}.\2_conv."),
        # residual blocks
        (rf"{_HALF}\.norm\.", rf"{_BLOCK}.\2_in_layers.0.GroupNorm."),
        (rf"{_HALF}\.wide\.", rf"{_BLOCK}.\2_in_layers.2."),
        (rf"{_HALF}\.modulation\.", rf"{_BLOCK}.\2_out_layers.0."),
        (rf"{_HALF}\.last\.linear\.", rf"{_BLOCK}.\2_out_layers.3.\2_conv."),
        (rf"{_HALF}\.skip\.linear\.", rf"{_BLOCK}.\2_skip_connection.\2_conv."),
        (rf"{_HALF}\.attention\.over_all\.projections\.", rf"{_BLOCK}.\2_attention_block."),
        (rf"{_HALF}\.attention\.over_space\.projections\.", rf"{_BLOCK}.spatial_attention_block."),
        (rf"{_HALF}\.attention\.over_time\.projections\.", rf"{_BLOCK}.temporal_attention_block."),
        (r"(_attention_block\.norm)\.", r"\1.GroupNorm."),
        (r"(_attention_block)\.into\.", r"\1.qkv."),
        (r"(_attention_block)\.out\.", r"\1.proj_out."),
        (r"(\w+_norm|_out_layers\.0)\.projection\.", r"\1.projection.1."),
        (r"((?:audio|video)_norm|_out_layers\.0)\.norm\.", r"\1.norm.GroupNorm."),
        (r"\.convolution\.", ".audio_conv."),
        (r"\.(spatial|temporal)\.", r".video_conv_\1."),
        # from tower to tower
        (
            r"^blocks\.(\d+)\.exchange\.(a|v)(udio|ideo)\.norm\.",
            r"feature_extractor.input_blocks.\1.1.\2_norm.GroupNorm.",
        ),
        (
            r"^blocks\.(\d+)\.exchange\.(a|v)(udio|ideo)\.into\.",
            r"feature_extractor.input_blocks.\1.1.\2_qkv.",
        ),
        (
            r"^blocks\.(\d+)\.exchange\.(audio|video)\.out\.",
            r"feature_extractor.input_blocks.\1.1.\2_proj_out.\2_conv.",
        ),
        # the fusion
        (r"^fusion\.(time|audio|video)_in\.", r"fusion_model.fm_\1_in."),
        (r"^fusion\.transformer\.readout\.token$", "fusion_model.fm.cls_emb"),
        (r"^fusion\.transformer\.positions$", "fusion_model.fm.pos_emb.emb.weight"),
        (r"^fusion\.transformer\.norm\.", "fusion_model.fm.norm."),
        (r"^fusion\.transformer\.out\.", "fusion_model.fm.out_layer."),
        (r"^fusion\.transformer\.blocks\.(\d+)\.norm\.", rf"{_LAYER}.0."),
        (r"^fusion\.transformer\.blocks\.(\d+)\.(q|k|v)\w+\.", rf"{_LAYER}.1.to_\2."),
        (r"^fusion\.transformer\.blocks\.(\d+)\.out\.", rf"{_LAYER}.1.to_out."),
        (r"^fusion\.transformer\.blocks\.(\d+)\.first\.", rf"{_LAYER}.1.net.0.0."),
        (r"^fusion\.transformer\.blocks\.(\d+)\.second\.", rf"{_LAYER}.1.net.2."),
    )
)


def released_name(name: str) -> str:
    """Return the release's name of the weight ``name`` of a ``ReleasedDiscriminator``."""
    for ours, released in _NAMES:
        name = ours.sub(released, name)
    return name


def empty(config: OfficialConfig) -> ReleasedDiscriminator:
    """Build the network without memory for its weights, on the meta device."""
    with torch.device("meta"):
        return ReleasedDiscriminator(config)


def translate(
    weights: Mapping[str, Tensor], config: OfficialConfig, source: str
) -> dict[str, Tensor]:
    """Rename the release's state dict to that of a ``ReleasedDiscriminator``, in float32.

    Args:
        weights: Weights by the release's names, with or without its prefix ``residual_predictor.``.
        config: Shape of the network.
        source: Origin of the weights, for messages.

    Raises:
        UserError: Weights are missing, too many, of another shape, or not finite numbers.
    """
    if weights and all(name.startswith(PREFIX) for name in weights):
        weights = {name.removeprefix(PREFIX): value for name, value in weights.items()}
    misfit = _misfit(weights, config)
    if misfit:
        fits = [name for name, other in PUBLISHED.items() if not _misfit(weights, other)]
        advice = f"load it as {' or '.join(fits)}" if fits else "download the published file again"
        raise UserError(f"{source} holds another network than was asked for ({misfit}): {advice}")
    translated: dict[str, Tensor] = {}
    for name, own in empty(config).state_dict().items():
        value = weights[released_name(name)].to(torch.float32).reshape(own.shape)
        if not value.isfinite().all():
            raise UserError(
                f"{source} is damaged: {released_name(name)} holds values that are not finite "
                "numbers; download the published file again"
            )
        translated[name] = value
    return translated


def _misfit(weights: Mapping[str, Tensor], config: OfficialConfig) -> str:
    """Describe how the weights differ from the configuration, in few words; "" if they fit."""
    wanted = _wanted(config)
    missing = [name for name in wanted if name not in weights]
    surplus = [name for name in weights if name not in wanted]
    if missing or surplus:
        examples = f"such as {(missing or surplus)[0]}"
        return f"{len(missing)} tensors missing and {len(surplus)} too many, {examples}"
    for name, own in wanted.items():
        given = weights[name]
        if _without_ones(given) != own or not given.is_floating_point():
            return f"{name} is of shape {tuple(given.shape)} and {given.dtype}"
    return ""


@functools.cache
def _wanted(config: OfficialConfig) -> dict[str, list[int]]:
    """Return the sizes of every weight, by the release's names."""
    weights = empty(config).state_dict()
    return {released_name(name): _without_ones(own) for name, own in weights.items()}


def _without_ones(tensor: Tensor) -> list[int]:
    return [size for size in tensor.shape if size != 1]
