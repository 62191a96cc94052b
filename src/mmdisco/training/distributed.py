"""How the work of a step is carried out: by which processes, in which parts and precision.

The batch of a step is the same whoever works on it: each process takes its rows, and what a step
sums over rows is summed over processes. Losses are differentiated twice, which gradient hooks of
data-parallel wrappers do not allow for, so gradients are summed by name after the backward pass.

A run over devices and processes, which are accelerate's.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import timedelta
from typing import Final, TypeVar, cast

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs
from torch import Tensor

from mmdisco.core.av import AV
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.noise import NoiseLevel
from mmdisco.discriminators.wrappers import OnDevice
from mmdisco.errors import UserError
from mmdisco.shapes import Logit

Network = TypeVar("Network", bound=Discriminator)


class Distributed(ABC):
    """Processes that work on one run together."""

    @property
    @abstractmethod
    def rank(self) -> int:
        """Which of the processes this is, from 0."""

    @property
    @abstractmethod
    def processes(self) -> int:
        """How many there are."""

    @property
    @abstractmethod
    def accumulation(self) -> int:
        """In how many parts a process takes its rows, one after the other."""

    @abstractmethod
    def to_device(self, network: Network) -> Network:
        """The network where this process computes."""

    @abstractmethod
    def wrap(self, network: Discriminator) -> Discriminator:
        """A moved network in the strategy's precision; latents and logits as everywhere."""

    @abstractmethod
    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the processes."""

    @abstractmethod
    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all processes in order of their rank, on the CPU."""

    @abstractmethod
    def wait(self) -> None:
        """Return once every process is here."""

    @property
    def main(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def expect(self, batch_size: int) -> None:
        """Make sure that a batch can be shared out evenly.

        Raises:
            UserError: It cannot.
        """
        if batch_size % (self.processes * self.accumulation):
            raise UserError(
                f"a batch of {batch_size} pairs over {self.processes} process(es) in "
                f"{self.accumulation} part(s): give a batch size that is a multiple of "
                f"{self.processes * self.accumulation}"
            )

    def parts(self, batch_size: int) -> list[slice]:
        """This process's rows of a batch, in its parts."""
        count = batch_size // (self.processes * self.accumulation)
        first = self.rank * self.accumulation
        return [
            slice(index * count, (index + 1) * count)
            for index in range(first, first + self.accumulation)
        ]


class SingleProcess(Distributed):
    """One process on the CPU in single precision.

    Args:
        accumulation: Parts of a batch, for less memory.
    """

    def __init__(self, accumulation: int = 1) -> None:
        self._accumulation = accumulation

    @property
    def rank(self) -> int:
        """The only one."""
        return 0

    @property
    def processes(self) -> int:
        """One."""
        return 1

    @property
    def accumulation(self) -> int:
        """As given."""
        return self._accumulation

    def to_device(self, network: Network) -> Network:
        """Where it is."""
        return network

    def wrap(self, network: Discriminator) -> Discriminator:
        """As it is."""
        return network

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Nothing to add."""

    def gather(self, rows: Tensor) -> Tensor:
        """All there are."""
        return rows.detach()

    def wait(self) -> None:
        """Nobody to wait for."""


PRECISIONS: Final = ("no", "bf16")
PATIENCE: Final = timedelta(hours=6)  # others wait while the main process samples clips


class Accelerated(Distributed):
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

    def to_device(self, network: Network) -> Network:
        """On the device of this process."""
        return network.to(self.device)

    def wrap(self, network: Discriminator) -> Discriminator:
        """Behind a move to the device, and under autocast if precision is mixed."""
        own = MixedPrecisionNetwork(network, self._accelerator) if self._mixed else network
        return own if self.device.type == "cpu" else OnDevice(own, self.device)

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
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


class MixedPrecisionNetwork(Discriminator):
    """Another discriminator whose forward pass is in mixed precision; the logit is single."""

    def __init__(self, discriminator: Discriminator, accelerator: Accelerator) -> None:
        super().__init__()
        self.discriminator = discriminator
        self._accelerator = accelerator

    def forward(self, z_t: AV[Tensor], level: AV[NoiseLevel], text: AV[Tensor]) -> Logit:
        """The other's logit."""
        with self._accelerator.autocast():
            return self.discriminator(z_t, level, text).float()
