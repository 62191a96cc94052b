"""Training of one network: resumable, the same from run to run.

Update k draws from (seed, k) alone, and a checkpoint holds network, average and optimiser, so a run
that was stopped goes on as if it had not been.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from torch import Generator, Tensor, nn
from torch.optim import AdamW

from mmdisco.core.rng import seeded_generator
from mmdisco.errors import UserError
from mmdisco.training.bases.config import FitConfig
from mmdisco.training.checkpoint import TrainingCheckpoint
from mmdisco.training.optimized import OptimizedNetwork

Network = TypeVar("Network", bound=nn.Module)
Loss = Callable[[int, Generator], Tensor]
Watch = Callable[[int, float, nn.Module], None]
"""Called after every update with their number, the mean of the last losses, and the average."""

BETAS: Final = (0.9, 0.99)
NORM: Final = 1.0  # largest norm of a gradient
_LAST: Final = 100  # losses of the mean


@dataclass(frozen=True)
class FitRun:
    """Training of one network.

    Attributes:
        config: Settings; those of a checkpoint must be the same.
        seed: Seed of the draws.
        path: File of the checkpoint.
        watch: Called after every update.
    """

    config: FitConfig
    seed: int
    path: Path
    watch: Watch

    def fit(self, network: Network, loss_of: Loss) -> Network:
        """Train ``network`` in place to the last update, going on from the checkpoint.

        Args:
            network: What ``loss_of`` differentiates.
            loss_of: Loss of an update, from its number and its generator.

        Returns:
            The averaged network, frozen.

        Raises:
            UserError: The checkpoint is damaged or of other settings.
        """
        config = self.config
        optimizer = AdamW(
            network.parameters(),
            lr=config.learning_rate,
            betas=BETAS,
            weight_decay=config.weight_decay,
            fused=True,
        )
        training = OptimizedNetwork(network, optimizer, config.ema)
        start, average = self._restore(training), training.average.network
        network.train()
        losses: deque[float] = deque(maxlen=_LAST)
        for step in range(start, config.steps):
            optimizer.zero_grad()
            loss = loss_of(step, seeded_generator(self.seed, step))
            loss.backward()
            training.update(step, config.rate(step), NORM)
            losses.append(loss.item())
            done = step + 1
            if done % config.checkpoint_every == 0 or done == config.steps:
                TrainingCheckpoint(done, self._settings, training.tensors()).save(self.path)
            self.watch(done, sum(losses) / len(losses), average)
        return average.eval()

    @property
    def _settings(self) -> dict[str, object]:
        return {**self.config.tree(), "seed": self.seed}

    def _restore(self, training: OptimizedNetwork[Network]) -> int:
        """Load the checkpoint, if there is one; return the number of updates done."""
        if not self.path.exists():
            return 0
        kept = TrainingCheckpoint.load(self.path)
        if kept.settings != self._settings:
            raise UserError(f"{self.path} was trained with {kept.settings}: give another folder")
        training.restore(kept, self.path)
        return kept.step
