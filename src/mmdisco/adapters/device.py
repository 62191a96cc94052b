"""Device of a model's networks, options that save its memory, and what is said where it runs out.

Knows no particular model.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn

from mmdisco.errors import UserError

_ON_CPU: Final = "DefaultCPUAllocator: "
_OPTIONS: Final = "--dtype bfloat16, --offload, --vae-tiling, a smaller --size, fewer --frames"


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

    def take(self, networks: Sequence[nn.Module], vae: nn.Module) -> None:
        """Freeze ``networks``, put them in evaluation mode and on the device.

        Args:
            networks: Networks in the order in which a run uses them.
            vae: The one of them that slicing and tiling apply to.

        Raises:
            UserError: It has no such option.
        """
        for network in networks:
            network.eval().requires_grad_(False)  # noqa: FBT003
        self.divide(vae)
        if self.offload:
            _offload(networks, self.device)
        else:
            for network in networks:
                network.to(self.device)

    def divide(self, vae: nn.Module) -> None:
        """Set slicing and tiling of an autoencoder as they are asked for.

        Raises:
            UserError: It has no such option.
        """
        for wanted, how in ((self.vae_slicing, "slicing"), (self.vae_tiling, "tiling")):
            enable = getattr(vae, f"enable_{how}", None)
            if wanted and enable is None:
                raise UserError(f"{type(vae).__name__} has no {how}: leave --vae-{how} out")
            if wanted and enable is not None:
                enable()


CPU: Final = Runtime()


@contextmanager
def ran_out(part: str, advice: str = _OPTIONS) -> Generator[None]:
    """Turn memory that runs out in the block into a message.

    Args:
        part: What is computed there.
        advice: What to try.

    Raises:
        UserError: Memory ran out.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        out = isinstance(error, torch.OutOfMemoryError | MemoryError) or _ON_CPU in str(error)
        if not out:
            raise
        raise UserError(f"memory ran out in {part}: try {advice}") from error


def _offload(networks: Sequence[nn.Module], device: torch.device) -> None:
    from accelerate import cpu_offload_with_hook  # slow to import, seldom wanted

    hook: Any = None
    for network in networks:
        _, hook = cpu_offload_with_hook(network, device, prev_module_hook=hook)
