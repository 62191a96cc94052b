"""Weights of the released discriminators: published pickles of state dicts.

They are converted at the first load: see ``mmdisco.io.conversion``. The release keeps both
modalities in one block, here each has a half; and its convolutions of one tap are matrices here.
Shapes differ by axes of length 1, and by nothing else.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from mmdisco.discriminators.official.config import PUBLISHED, OfficialConfig
from mmdisco.discriminators.official.network import ReleasedDiscriminator
from mmdisco.errors import UserError
from mmdisco.io.conversion import PublishedNetwork, extent
from mmdisco.io.pickles import Rules, rename

PREFIX: Final = "residual_predictor."

_HALF: Final = r"^blocks\.(\d+)\.(audio|video)"
_BLOCK: Final = r"feature_extractor.input_blocks.\1.0"
_LAYER: Final = r"fusion_model.fm.attn_layers.layers.\1"
# this package's names to the release's, each applied to the result of those before it
_NAMES: Final[Rules] = (
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


def released_name(name: str) -> str:
    """Return the release's name of the weight ``name`` of a ``ReleasedDiscriminator``."""
    return rename(name, _NAMES)


def load_checkpoint(checkpoint: Path, config: OfficialConfig) -> ReleasedDiscriminator:
    """Load the discriminator of a published file, converted at the first use.

    The folder of the converted weights stands beside the file, with ``.converted`` appended to
    its name. It is sufficient by itself: the file may then be deleted. A file that was replaced
    is converted again.

    Args:
        checkpoint: A published file.
        config: The shape of its network, one of ``PUBLISHED``.

    Returns:
        The network on the CPU, in single precision, frozen.

    Raises:
        UserError: The file is missing, damaged or of another network, the folder cannot be written
            to, or its content is damaged.
    """
    network = published(config).load(checkpoint)
    if network.config != config:
        raise UserError(
            f"the folder converted from {checkpoint} holds another network than was asked for: "
            "name that one"
        )
    return network


def published(config: OfficialConfig) -> PublishedNetwork[ReleasedDiscriminator]:
    """Describe the published form of a discriminator."""

    def rename(weights: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
        ours = {released_name(name): name for name in empty(config).state_dict()}
        return {ours.get(name, name): one for name, one in _without_prefix(weights).items()}

    return PublishedNetwork(
        name="released discriminator",
        shape=config.to_record(),
        build=lambda record: ReleasedDiscriminator(OfficialConfig.from_record(record)),
        rename=rename,
        advice=_advice,
    )


def empty(config: OfficialConfig) -> ReleasedDiscriminator:
    """Build the network without memory for its weights, on the meta device."""
    with torch.device("meta"):
        return ReleasedDiscriminator(config)


def _advice(weights: Mapping[str, Tensor]) -> str:
    found = {name: extent(one) for name, one in _without_prefix(weights).items()}
    fits = [stem for stem, other in PUBLISHED.items() if _wanted(other) == found]
    return f"load it as {' or '.join(fits)}" if fits else "download the published file again"


def _without_prefix(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Remove the prefix that all names have where the release's whole model was saved."""
    if all(name.startswith(PREFIX) for name in weights):
        return {name.removeprefix(PREFIX): one for name, one in weights.items()}
    return dict(weights)


@functools.cache
def _wanted(config: OfficialConfig) -> dict[str, list[int]]:
    """Return the sizes of every weight, by the release's names."""
    weights = empty(config).state_dict()
    return {released_name(name): extent(own) for name, own in weights.items()}
