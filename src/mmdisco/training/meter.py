"""Means of a run's losses since the last line of the log, in all and by noise level."""

import torch
from torch import Tensor

from mmdisco.av import AV
from mmdisco.schedule import NoiseLevel
from mmdisco.training.losses import Losses

BINS = 8


class Meter:
    """Sums of the losses, by eighths of the noise angle of the noisier side."""

    def __init__(self) -> None:
        # rows: count, discrimination, audio's and video's denoising, correct; columns: bins
        self._sums = torch.zeros(5, BINS, dtype=torch.float64)
        self._norms = torch.zeros(2, dtype=torch.float64)

    def add(self, level: AV[NoiseLevel], losses: Losses, gradient_norm: Tensor) -> None:
        """Take in one step."""
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

    def summary(self) -> dict[str, object]:
        """Means for the log; a bin that saw nothing is null."""
        names = ("discrimination", "denoising_audio", "denoising_video", "accuracy")
        count, *sums = self._sums.tolist()
        means = {
            name: sum(row) / max(1.0, sum(count)) for name, row in zip(names, sums, strict=True)
        }
        by_level = {
            name: [value / n if n else None for value, n in zip(row, count, strict=True)]
            for name, row in zip(names, sums, strict=True)
        }
        norm = float(self._norms[1] / self._norms[0].clamp(min=1))
        return {**means, "gradient_norm": norm, "by_angle": by_level}

    def state(self) -> dict[str, Tensor]:
        """The sums, for a checkpoint between two lines."""
        return {"sums": self._sums, "norms": self._norms}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from a ``state``."""
        self._sums, self._norms = state["sums"], state["norms"]
