"""Averages of a training: of the network's weights, and of its losses between lines of the log."""

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from mmdisco.core.av import AV
from mmdisco.core.losses import Losses
from mmdisco.core.noise import NoiseLevel

Module = TypeVar("Module", bound=nn.Module)


class EMA(Generic[Module]):
    """Exponential moving average of a network's weights.

    Args:
        network: The network to follow; copied, not kept.
        decay: Weight of the past in [0, 1), at most (1 + n) / (10 + n) after n updates.
    """

    def __init__(self, network: Module, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)  # noqa: FBT003
        self._decay = decay

    def update(self, network: Module, step: int) -> None:
        """Move towards ``network`` after its ``step``-th update, counted from 0."""
        decay = min(self._decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for mean, value in zip(self.network.parameters(), network.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)


BINS = 8


class LossAverages:
    """Sums of the losses, by eighths of the noise angle of the noisier modality."""

    def __init__(self) -> None:
        # rows: count, discrimination, audio's and video's denoising, correct; columns: bins
        self._sums = torch.zeros(5, BINS, dtype=torch.float64)
        self._norms = torch.zeros(2, dtype=torch.float64)
        # count, loss and correct of the contrastive term
        self._contrastive = torch.zeros(3, dtype=torch.float64)

    def add(self, level: AV[NoiseLevel], losses: Losses, gradient_norm: Tensor) -> None:
        """Add the losses of one step."""
        angle = torch.maximum(level.audio.angle, level.video.angle)
        bins = (angle * BINS).long().clamp(0, BINS - 1)
        columns = (
            torch.ones_like(losses.correct),
            losses.discrimination,
            losses.denoising.audio,
            losses.denoising.video,
            losses.correct,
        )
        values = torch.stack([one.detach().double() for one in columns])
        self._sums.index_add_(1, bins, values)
        self._norms += torch.stack([torch.ones(()), gradient_norm.detach()]).double()

    def add_contrastive(self, losses: Losses) -> None:
        """Add the losses of one step's groups."""
        columns = (torch.ones_like(losses.correct), losses.discrimination, losses.correct)
        self._contrastive += torch.stack([one.detach().double().sum() for one in columns])

    def summary(self) -> dict[str, object]:
        """Return means for the log; an empty bin is null."""
        names = ("discrimination", "denoising_audio", "denoising_video", "accuracy")
        count, *sums = self._sums.tolist()
        means = {
            name: sum(row) / max(1.0, sum(count)) for name, row in zip(names, sums, strict=True)
        }
        by_level = {
            name: [value / n if n else None for value, n in zip(row, count, strict=True)]
            for name, row in zip(names, sums, strict=True)
        }
        means["gradient_norm"] = float(self._norms[1] / self._norms[0].clamp(min=1))
        total, loss, correct = self._contrastive.tolist()
        if total:
            means |= {"contrastive": loss / total, "contrastive_accuracy": correct / total}
        return {**means, "by_angle": by_level}

    def state(self) -> dict[str, Tensor]:
        """Return the sums, for a checkpoint between two lines."""
        return {"sums": self._sums, "norms": self._norms, "contrastive": self._contrastive}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Restore a ``state``."""
        self._sums, self._norms = state["sums"], state["norms"]
        self._contrastive = state["contrastive"]
