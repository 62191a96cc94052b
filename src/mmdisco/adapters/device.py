"""Device of a model's networks, and options that save its memory. Knows no particular model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from diffusers import AutoencoderKL
from torch import nn


@dataclass(frozen=True)
class Runtime:
    """Device and memory of the networks behind an adapter.

    Attributes:
        device: Device of the networks; latents and clips stay where the caller has them.
        offload: Whether networks wait in main memory, and only the one in use is on the device.
        vae_slicing: Whether the autoencoder takes the images of a batch one by one.
        vae_tiling: Whether the autoencoder takes large images in overlapping tiles; the seams
            change the result a little.
    """

    device: torch.device = torch.device("cpu")  # noqa: RUF009 - immutable
    offload: bool = False
    vae_slicing: bool = False
    vae_tiling: bool = False

    def take(self, networks: Sequence[nn.Module], vae: AutoencoderKL) -> None:
        """Freeze ``networks``, put them in evaluation mode and on the device.

        Args:
            networks: Networks in the order in which a run uses them.
            vae: The one of them that slicing and tiling apply to.
        """
        for network in networks:
            network.eval().requires_grad_(False)  # noqa: FBT003
        if self.vae_slicing:
            vae.enable_slicing()
        if self.vae_tiling:
            vae.enable_tiling()
        if self.offload:
            _offload(networks, self.device)
        else:
            for network in networks:
                network.to(self.device)


CPU: Final = Runtime()


def _offload(networks: Sequence[nn.Module], device: torch.device) -> None:
    from accelerate import cpu_offload_with_hook  # slow to import, seldom wanted

    hook: Any = None
    for network in networks:
        _, hook = cpu_offload_with_hook(network, device, prev_module_hook=hook)
