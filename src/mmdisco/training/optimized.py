"""A network in training: what any loop changes at each update, and keeps in its checkpoint."""

from pathlib import Path
from typing import Generic, TypeVar

from torch import Tensor, nn
from torch.optim import Optimizer

from mmdisco.io.files import understood
from mmdisco.training.checkpoint import (
    EMA,
    TrainingCheckpoint,
    grouped,
    load_weights,
    optimizer_tensors,
    restore_optimizer,
)

Module = TypeVar("Module", bound=nn.Module)


class OptimizedNetwork(Generic[Module]):
    """A network with the average of its weights and its optimiser.

    Args:
        network: The network, trained in place.
        optimizer: Optimiser of its parameters.
        ema_decay: Decay of the average.
    """

    def __init__(self, network: Module, optimizer: Optimizer, ema_decay: float) -> None:
        self.network = network
        self.average = EMA(network, ema_decay)
        self.optimizer = optimizer

    def update(self, step: int, learning_rate: float, max_norm: float) -> Tensor:
        """Follow the gradients that are there, the ``step``-th time; return their norm.

        Args:
            step: Number of the update, counted from 0.
            learning_rate: Learning rate of this update.
            max_norm: Norm that the gradients are scaled down to.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), max_norm)
        self.optimizer.step()
        self.average.update(self.network, step)
        return norm

    def tensors(self) -> dict[str, Tensor]:
        """Return what a checkpoint keeps."""
        return (
            grouped("network", self.network.state_dict())
            | grouped("average", self.average.network.state_dict())
            | grouped("optimizer", optimizer_tensors(self.optimizer))
        )

    def restore(self, kept: TrainingCheckpoint, path: Path) -> None:
        """Load ``tensors`` of a checkpoint.

        Raises:
            UserError: They are of another network.
        """
        load_weights(self.network, kept.group("network"), path)
        load_weights(self.average.network, kept.group("average"), path)
        with understood(path):
            restore_optimizer(self.optimizer, kept.group("optimizer"))
