"""How the work of a step is carried out: by which processes, in which parts and precision.

The batch of a step is the same whoever works on it: each process takes its rows, and what a step
sums over rows is summed over processes. Losses are differentiated twice, which gradient hooks of
data-parallel wrappers do not allow for, so gradients are summed by name after the backward pass.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeVar

from torch import Tensor

from mmdisco.discriminator.base import Discriminator
from mmdisco.errors import UserError

Network = TypeVar("Network", bound=Discriminator)


class Strategy(ABC):
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
    def moved(self, network: Network) -> Network:
        """The network where this process computes."""

    @abstractmethod
    def computing(self, network: Discriminator) -> Discriminator:
        """A moved network in the strategy's precision; latents and logits as everywhere."""

    @abstractmethod
    def add_up(self, tensors: Sequence[Tensor]) -> None:
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


class Alone(Strategy):
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

    def moved(self, network: Network) -> Network:
        """Where it is."""
        return network

    def computing(self, network: Discriminator) -> Discriminator:
        """As it is."""
        return network

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Nothing to add."""

    def gather(self, rows: Tensor) -> Tensor:
        """All there are."""
        return rows.detach()

    def wait(self) -> None:
        """Nobody to wait for."""
