"""The settings of a training run that decide its weights."""

import math
from dataclasses import dataclass

from mmdisco.errors import UserError


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a run.

    Attributes:
        steps: Updates in all.
        batch_size: Real pairs, and as many fake ones, a step.
        learning_rate: Peak of the cosine schedule.
        warmup: Steps of linear warm-up.
        weight_decay: AdamW's, decoupled.
        clip: Largest gradient norm.
        ema: Decay of the averaged weights, which are the result.
        caption_dropout: Share of pairs, real and fake alike, that see the empty caption.
        seed: Of every random number: step k draws from (seed, k) alone.
        period: After so many steps the same noised real pairs come again, for a ``RememberedBase``;
            0 is never. Fake pairs are always new.
        log_every: Steps a line of the log sums up.
        checkpoint_every: Steps between checkpoints; one more is written at the end.
    """

    steps: int = 2500
    batch_size: int = 192
    learning_rate: float = 2e-3
    warmup: int = 200
    weight_decay: float = 0.0
    clip: float = 5.0
    ema: float = 0.999
    caption_dropout: float = 0.1
    seed: int = 0
    period: int = 0
    log_every: int = 100
    checkpoint_every: int = 1000

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "log_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} {getattr(self, name)}: give at least 1")
        if self.period < 0:
            raise UserError(f"period {self.period}: give at least 0")
        for name in ("learning_rate", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise UserError(f"{name} {getattr(self, name)}: give a number above 0")
        for name in ("ema", "caption_dropout"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} {getattr(self, name)}: give a share from 0 to 1")

    def rate(self, step: int) -> float:
        """The learning rate of a step: warm-up, then half a cosine down to 0.5 % of the peak."""
        warm = min(1.0, (step + 1) / max(1, self.warmup))
        fall = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.learning_rate * warm * (0.005 + 0.995 * fall)
