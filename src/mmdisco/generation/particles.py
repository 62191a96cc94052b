"""Sequential Monte Carlo over the candidates of a clip: resampling on the way, by the logit.

The candidates of a clip are the particles of one population. Their targets tilt the law of the run,
step by step, by e^h (docs/method.md), so the weight of a particle grows by the ratio of e^h at this
level and at the one before; over several steps these ratios telescope.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Generator, Tensor
from typing_extensions import override

from mmdisco.core.av import AV
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.noise import NoiseLevel
from mmdisco.core.rng import seeded_generator
from mmdisco.core.sampler import Resampling
from mmdisco.errors import UserError

_STREAM: Final = 2  # of a clip's seed; 0 and 1 are the noise of its first candidate


@dataclass(frozen=True)
class EffectiveSampleSize:
    """Effective sample sizes of the candidates after a step.

    Attributes:
        step: Number of steps taken.
        sizes: (Σ w)² / Σ w² of each clip, from 1 to the number of candidates.
        resampled: Whether the candidates of each clip were resampled then.
    """

    step: int
    sizes: list[float]
    resampled: list[bool]

    def of_clip(self, clip: int) -> dict[str, Any]:
        """Return step, size and whether there was resampling of one clip, for JSON."""
        size, resampled = round(self.sizes[clip], 3), self.resampled[clip]
        return {"step": self.step, "size": size, "resampled": resampled}


@dataclass(frozen=True)
class SequentialMonteCarlo:
    """Settings of resampling; begins any number of runs.

    Attributes:
        candidates: Particles N of each clip, neighbours in the batch.
        every: Steps from one look at the weights to the next.
        threshold: Share of N below which the effective sample size leads to resampling.
        watch: Called with the effective sample sizes at each look.

    Raises:
        UserError: There are too few candidates ever to be resampled, or no steps.
    """

    candidates: int
    every: int = 1
    threshold: float = 0.5
    watch: Callable[[EffectiveSampleSize], object] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.threshold * self.candidates <= 1:  # an effective sample size is 1 at least
            raise UserError(
                f"{self.candidates} candidates are never resampled, since at least one counts: ask "
                "for more"
            )
        if self.every < 1:
            raise UserError(f"resampling every {self.every} steps: ask for 1 or more")

    def begin(
        self, discriminator: Discriminator, text: AV[Tensor], seeds: Sequence[int]
    ) -> "Particles":
        """Return the resampling of a new run.

        Args:
            discriminator: Its logit is h.
            text: Pooled captions of the whole batch.
            seeds: Seed of each candidate; that of the first decides the resampling of a clip.
        """
        generators = [seeded_generator(seed, _STREAM) for seed in seeds[:: self.candidates]]
        return Particles(self, discriminator, text, generators)


@dataclass
class Particles(Resampling):
    """Particles of one run.

    Attributes:
        settings: How they are resampled.
        discriminator: Its logit is h.
        text: Pooled captions of the whole batch.
        generators: One for each clip.
        before: h of each particle when its clip was last resampled, (clips, candidates); 0 at the
            beginning, where both sides are noise.
    """

    settings: SequentialMonteCarlo
    discriminator: Discriminator
    text: AV[Tensor]
    generators: list[Generator]
    before: Tensor = field(default_factory=lambda: torch.zeros(()))

    @override
    def rows(self, step: int, z_t: AV[Tensor], level: AV[NoiseLevel]) -> list[int] | None:
        count = self.settings.candidates
        if (step + 1) % self.settings.every:
            return None
        with torch.no_grad():
            logit = (
                self.discriminator(z_t, level, self.text).double().cpu().unflatten(0, (-1, count))
            )
        weights = (logit - self.before).softmax(1)
        sizes = 1 / weights.square().sum(1)
        few = sizes < self.settings.threshold * count
        chosen = torch.arange(count).repeat(len(weights), 1)
        for clip in few.nonzero().flatten().tolist():
            chosen[clip] = systematic(weights[clip], self.generators[clip])
        kept = torch.zeros_like(logit) + self.before
        self.before = torch.where(few[:, None], logit.gather(1, chosen), kept)
        if self.settings.watch is not None:
            self.settings.watch(EffectiveSampleSize(step + 1, sizes.tolist(), few.tolist()))
        if not few.any():
            return None
        first = count * torch.arange(len(chosen))[:, None]
        return (first + chosen).flatten().tolist()


def systematic(weights: Tensor, generator: Generator) -> Tensor:
    """Resample as many particles, each ⌊N w⌋ or ⌈N w⌉ times (Kitagawa 1996).

    A particle that goes on keeps its place, and with it its own noise; copies take the places of
    those that do not.

    Args:
        weights: Normalized weights, (n,).
        generator: Draws the one number that is needed.

    Returns:
        Positions of the particles, (n,).
    """
    count = len(weights)
    start = torch.rand(1, generator=generator, dtype=weights.dtype)
    marks = (torch.arange(count, dtype=weights.dtype) + start) / count
    # rounding may leave the sum of all weights below the last mark
    drawn = torch.searchsorted(weights.cumsum(0), marks).clamp(max=count - 1)
    times = torch.bincount(drawn, minlength=count)
    rows = torch.arange(count)
    rows[times == 0] = rows.repeat_interleave((times - 1).clamp(min=0))
    return rows
