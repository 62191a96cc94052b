"""Distribution of a step's work over processes, micro-batches and precisions.

The batch of a step does not depend on the number of processes: each takes its rows, and sums over
rows are reduced over processes. Losses are differentiated twice, which gradient hooks of
data-parallel wrappers do not support, so gradients are reduced by name after the backward pass.

``Accelerated`` leaves devices and processes to accelerate.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import timedelta
from typing import Final, TypeVar, cast

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs
from torch import Tensor
from typing_extensions import override

from mmdisco.core.av import AV
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.noise import NoiseLevel
from mmdisco.discriminators.correlation import PairwiseDiscriminator, pairwise
from mmdisco.discriminators.wrappers import OnDevice
from mmdisco.errors import UserError
from mmdisco.io.shapes import Logit

Network = TypeVar("Network", bound=Discriminator)


class Distributed(ABC):
    """Group of processes that train together.

    Attributes:
        rank: Rank of this process, from 0.
        processes: Number of processes.
        accumulation: Number of micro-batches that a process splits its rows into.
    """

    rank: int
    processes: int
    accumulation: int

    @abstractmethod
    def to_device(self, network: Network) -> Network:
        """Move the network to this process's device."""

    @abstractmethod
    def wrap(self, network: Discriminator) -> Discriminator:
        """Wrap a moved network in training's precision; latents and logits keep their dtypes."""

    @abstractmethod
    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the processes."""

    @abstractmethod
    def gather(self, rows: Tensor) -> Tensor:
        """Gather the rows of all processes in order of their rank, on the CPU."""

    @abstractmethod
    def wait(self) -> None:
        """Wait for every process."""

    @property
    def main(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def expect(self, batch_size: int) -> None:
        """Check that a batch divides evenly.

        Raises:
            UserError: It does not.
        """
        if batch_size % (self.processes * self.accumulation):
            raise UserError(
                f"a batch of {batch_size} pairs over {self.processes} process(es) in "
                f"{self.accumulation} part(s): give a batch size that is a multiple of "
                f"{self.processes * self.accumulation}"
            )

    def parts(self, batch_size: int) -> list[slice]:
        """Return this process's rows of a batch, one slice per micro-batch."""
        count = batch_size // (self.processes * self.accumulation)
        first = self.rank * self.accumulation
        return [
            slice(index * count, (index + 1) * count)
            for index in range(first, first + self.accumulation)
        ]


class SingleProcess(Distributed):
    """One process on the CPU in single precision.

    Args:
        accumulation: Micro-batches per batch, for less memory.
    """

    def __init__(self, accumulation: int = 1) -> None:
        self.rank, self.processes, self.accumulation = 0, 1, accumulation

    @override
    def to_device(self, network: Network) -> Network:
        return network

    @override
    def wrap(self, network: Discriminator) -> Discriminator:
        return network

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Leave the tensors as they are."""

    @override
    def gather(self, rows: Tensor) -> Tensor:
        return rows.detach()

    def wait(self) -> None:
        """Return at once."""


PRECISIONS: Final = {"fp32": "no", "bf16": "bf16"}  # YAML reads a bare no as false
PATIENCE: Final = timedelta(hours=6)  # the main process samples clips while others wait


class Accelerated(Distributed):
    """Processes as ``accelerate launch`` started them; one without it.

    Args:
        accumulation: Micro-batches per process, for less memory.
        mixed_precision: ``fp32`` or ``bf16``; None leaves it to the launcher.
        cpu: Whether to stay on the CPU.

    Raises:
        UserError: The precision cannot hold a gradient of a gradient.
    """

    def __init__(
        self, accumulation: int = 1, mixed_precision: str | None = None, *, cpu: bool = False
    ) -> None:
        self._accelerator = Accelerator(
            cpu=cpu,
            mixed_precision=mixed_precision and PRECISIONS[mixed_precision],
            kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
        )
        found = str(self._accelerator.mixed_precision)
        if found not in PRECISIONS.values():
            raise UserError(
                f"mixed precision {found!r}: the denoising loss differentiates a gradient, which "
                "such numbers are too coarse for; give bf16 or fp32"
            )
        self._mixed = found != "no"
        self.rank = self._accelerator.process_index
        self.processes = self._accelerator.num_processes
        self.accumulation = accumulation

    @property
    def device(self) -> torch.device:
        """Device of this process."""
        found = self._accelerator.device
        # several processes on the CPU are given cpu:0, which is the same device
        return torch.device("cpu") if found.type == "cpu" else found

    @override
    def to_device(self, network: Network) -> Network:
        return network.to(self.device)

    def wrap(self, network: Discriminator) -> Discriminator:
        """Move inputs to the device, and use autocast if precision is mixed."""
        own = MixedPrecisionNetwork(network, self._accelerator) if self._mixed else network
        return own if self.device.type == "cpu" else OnDevice(own, self.device)

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Reduce all tensors as one flat message."""
        if self.processes == 1 or not tensors:
            return
        flat = torch.cat([one.reshape(-1) for one in tensors])
        summed = cast(Tensor, self._accelerator.reduce(flat, "sum"))
        parts = summed.split([one.numel() for one in tensors])
        for one, part in zip(tensors, parts, strict=True):
            one.copy_(part.reshape(one.shape))

    def gather(self, rows: Tensor) -> Tensor:
        """Gather through the device, over which processes communicate."""
        if self.processes == 1:
            return rows.detach().cpu()
        there = rows.detach().to(self.device).contiguous()
        return cast(Tensor, self._accelerator.gather(there)).cpu()

    @override
    def wait(self) -> None:
        self._accelerator.wait_for_everyone()


class MixedPrecisionNetwork(PairwiseDiscriminator):
    """Discriminator whose forward pass runs in mixed precision; the logit is single."""

    def __init__(self, discriminator: Discriminator, accelerator: Accelerator) -> None:
        super().__init__()
        self.discriminator = discriminator
        self._accelerator = accelerator

    @override
    def forward(self, z_t: AV[Tensor], level: AV[NoiseLevel], text: AV[Tensor]) -> Logit:
        with self._accelerator.autocast():
            return self.discriminator(z_t, level, text).float()

    @override
    def pairwise_logits(
        self, z_t: AV[Tensor], level: AV[NoiseLevel], text: AV[Tensor], size: int
    ) -> Tensor:
        with self._accelerator.autocast():
            return pairwise(self.discriminator).pairwise_logits(z_t, level, text, size).float()
