"""A run over devices and processes, which are accelerate's."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, cast

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs
from torch import Tensor

from mmdisco.av import AV
from mmdisco.discriminator.base import Discriminator
from mmdisco.discriminator.wrappers import Placed
from mmdisco.errors import UserError
from mmdisco.schedule import NoiseLevel
from mmdisco.shapes import Logit
from mmdisco.training.strategy import Network, Strategy

PRECISIONS: Final = ("no", "bf16")
PATIENCE: Final = timedelta(hours=6)  # others wait while the main process samples clips


class Accelerated(Strategy):
    """Processes as ``accelerate launch`` started them; one without it.

    Args:
        accumulation: Parts that a process takes its rows in, for less memory.
        precision: ``no`` or ``bf16``; None leaves it to the launcher.
        cpu: Whether to stay on the CPU.

    Raises:
        UserError: The precision cannot hold a gradient of a gradient.
    """

    def __init__(
        self, accumulation: int = 1, precision: str | None = None, *, cpu: bool = False
    ) -> None:
        self._accumulation = accumulation
        self._accelerator = Accelerator(
            cpu=cpu,
            mixed_precision=precision,
            kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
        )
        found = str(self._accelerator.mixed_precision)
        if found not in PRECISIONS:
            raise UserError(
                f"mixed precision {found!r}: the denoising loss differentiates a gradient, which "
                "such numbers are too coarse for; give bf16 or no"
            )
        self._mixed = found != "no"

    @property
    def rank(self) -> int:
        """That of accelerate."""
        return self._accelerator.process_index

    @property
    def processes(self) -> int:
        """Those of accelerate."""
        return self._accelerator.num_processes

    @property
    def accumulation(self) -> int:
        """As given."""
        return self._accumulation

    @property
    def device(self) -> torch.device:
        """Of this process."""
        found = self._accelerator.device
        # several processes on the CPU are given cpu:0, which is no other device
        return torch.device("cpu") if found.type == "cpu" else found

    def moved(self, network: Network) -> Network:
        """On the device of this process."""
        return network.to(self.device)

    def computing(self, network: Discriminator) -> Discriminator:
        """Behind a move to the device, and under autocast if precision is mixed."""
        own = Mixed(network, self._accelerator) if self._mixed else network
        return own if self.device.type == "cpu" else Placed(own, self.device)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """As one message."""
        if self.processes == 1 or not tensors:
            return
        flat = torch.cat([one.reshape(-1) for one in tensors])
        summed = cast(Tensor, self._accelerator.reduce(flat, "sum"))
        parts = summed.split([one.numel() for one in tensors])
        for one, part in zip(tensors, parts, strict=True):
            one.copy_(part.reshape(one.shape))

    def gather(self, rows: Tensor) -> Tensor:
        """Through the device, which is what processes speak over."""
        if self.processes == 1:
            return rows.detach().cpu()
        there = rows.detach().to(self.device).contiguous()
        return cast(Tensor, self._accelerator.gather(there)).cpu()

    def wait(self) -> None:
        """For all."""
        self._accelerator.wait_for_everyone()


class Mixed(Discriminator):
    """Another discriminator whose forward pass is in mixed precision; the logit is single."""

    def __init__(self, discriminator: Discriminator, accelerator: Accelerator) -> None:
        super().__init__()
        self.discriminator = discriminator
        self._accelerator = accelerator

    def forward(self, z_t: AV[Tensor], level: AV[NoiseLevel], text: AV[Tensor]) -> Logit:
        """The other's logit."""
        with self._accelerator.autocast():
            return self.discriminator(z_t, level, text).float()
