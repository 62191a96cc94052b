"""Full-size networks with random weights, made at the cost of writing their memory once.

A network is built without memory, given memory, and filled: the initialisers of its layers would
take longer than what is to be measured. Configurations of diffusers' networks are the JSON files in
``configs``; knows no model behind a configuration.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from torch import nn

from mmdisco.files import read_json

CONFIGS: Final = Path(__file__).parent / "configs"

Network = TypeVar("Network", bound=nn.Module)


def configuration(name: str) -> Mapping[str, Any]:
    """A diffusers configuration of the package, such as ``audioldm_unet``."""
    return read_json(CONFIGS / f"{name}.json")


def random_network(
    make: Callable[[], Network], device: torch.device, dtype: torch.dtype, seed: int
) -> Network:
    """A frozen network with random weights under which the size of what passes through is kept.

    Args:
        make: Builds it; called where tensors have no memory.
        device: Where it is to compute.
        dtype: What it is to compute in.
        seed: Of the weights.
    """
    with torch.device("meta"):
        network = make()
    # torch's own cast: that of diffusers warns of checkpoints, of which there is none
    nn.Module.to(network, dtype)
    network.to_empty(device=device).eval().requires_grad_(False)  # noqa: FBT003
    generator = torch.Generator(device).manual_seed(seed)
    for name, weight in network.named_parameters():
        if weight.ndim > 1:
            # variance 1/fan-in: neither infinite nor so small that a processor takes a slow path
            bound = (3 / weight[0].numel()) ** 0.5
            weight.uniform_(-bound, bound, generator=generator)
        else:
            weight.fill_(0.0 if name.endswith("bias") else 1.0)
    for buffer in network.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(-1, 1, generator=generator)
        else:
            buffer.zero_()
    return network
