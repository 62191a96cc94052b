"""Node pack for ComfyUI: two models make a video with its sound, guided by a discriminator.

The nodes wrap ``mmdisco``, which has the method, the discriminators and the embedded pair.
"""

from comfy_api.latest import ComfyExtension, io
from typing_extensions import override

from .embedded import GenerateEmbedded
from .guidance import (
    AlignmentScore,
    BestOfBatch,
    GuidanceParameters,
    JointGuiderNode,
    LoadDiscriminator,
)
from .latents import (
    DecodeVideoAudio,
    EmptyVideoAudio,
    EncodeVideoAudio,
    GivenAudio,
    GivenVideo,
    JoinVideoAudio,
    MatchLengths,
    SplitVideoAudio,
)

WEB_DIRECTORY = "./web"
"""Folder that the page of ComfyUI serves; ``docs`` in it holds the help page of each node."""

NODES: list[type[io.ComfyNode]] = [
    GenerateEmbedded,
    LoadDiscriminator,
    GuidanceParameters,
    JointGuiderNode,
    MatchLengths,
    EmptyVideoAudio,
    JoinVideoAudio,
    SplitVideoAudio,
    EncodeVideoAudio,
    DecodeVideoAudio,
    GivenVideo,
    GivenAudio,
    AlignmentScore,
    BestOfBatch,
]


class MMDisCoExtension(ComfyExtension):
    """The pack, as ComfyUI asks for it."""

    @override
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES


async def comfy_entrypoint() -> MMDisCoExtension:
    """Return the pack."""
    return MMDisCoExtension()
