"""A discriminator examined on held-out pairs along paths of noise levels.

Held-out pairs at one noise level, always with the same noise; a network's logits of them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import torch
from torch import Tensor

from mmdisco.core.coupling import CleanAudio, CleanVideo, LevelCoupling
from mmdisco.core.denoiser import JointDenoiser
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.guidance import guide
from mmdisco.core.log_ratio import log_ratio_gradient
from mmdisco.core.losses import NoisedPairs
from mmdisco.core.pairs import Pairs, PairSource
from mmdisco.core.rng import seeded_generator
from mmdisco.data.pairing import select_pairs
from mmdisco.errors import UserError
from mmdisco.training.diagnostics.report import (
    SIDES,
    BinaryScores,
    Denoising,
    Diagnostics,
    LevelDiagnostics,
    PathDiagnostics,
)
from mmdisco.training.diagnostics.scores import (
    accuracy,
    calibration_error,
    cross_entropy,
    ranking,
    reliability,
)

CHUNK: Final = 32  # pairs that a network is shown at once
STREAM: Final = 2**31  # of random numbers that no step of training draws from


def add_noise(pairs: Pairs, path: LevelCoupling, u: float, seed: int) -> Iterator[NoisedPairs]:
    """The pairs at one place of a path, some at a time.

    Args:
        pairs: Any number of them.
        path: Of pairs of noise levels.
        u: The place, from 0 to 1.
        seed: Of the noise, which also depends on ``u``.
    """
    generator = seeded_generator(seed, STREAM + round(u * 2**20))
    for first in range(0, len(pairs), CHUNK):
        some = select_pairs(pairs, range(first, min(first + CHUNK, len(pairs))))
        level = path.levels(torch.full((len(some),), u, dtype=torch.float64))
        eps = some.z_0.map(lambda x: torch.randn(x.shape, generator=generator))
        yield NoisedPairs(some, eps, level)


@torch.no_grad()
def logits(
    network: Discriminator, pairs: Pairs, path: LevelCoupling, u: float, seed: int
) -> Tensor:
    """The logit of every pair at one place of a path, (n,), on the CPU."""
    return torch.cat(
        [
            network(one.z_t, one.level, one.pairs.cond.map(lambda cond: cond.pooled)).cpu()
            for one in add_noise(pairs, path, u, seed)
        ]
    )


@dataclass(frozen=True)
class RealVsOther:
    """Real pairs and what they are told from.

    Attributes:
        real: Held out from training.
        other: Likewise.
    """

    real: Pairs
    other: Pairs

    @staticmethod
    def drawn(real: PairSource, other: PairSource, count: int, seed: int) -> "RealVsOther":
        """``count`` pairs of either source."""
        return RealVsOther(
            real.draw(count, seeded_generator(seed, 0)),
            other.draw(count, seeded_generator(seed, 1)),
        )


@dataclass(frozen=True)
class DiagnosticsRunner:
    """What a discriminator is examined on.

    Attributes:
        base: The frozen base whose noise its gradient completes.
        paths: By name.
        real: Real pairs for the errors of the noise.
        against: By what real pairs are told from, as in ``fake`` and ``shuffled``.
        levels: How many levels, at equal steps of u.
        seed: Of the noise.
        watch: Called after each level.
    """

    base: JointDenoiser
    paths: Mapping[str, LevelCoupling]
    real: Pairs
    against: Mapping[str, RealVsOther]
    levels: int = 8
    seed: int = 0
    watch: Callable[[], None] = field(default=lambda: None)

    def __post_init__(self) -> None:
        if self.levels < 2:
            raise UserError(f"{self.levels} noise levels: ask for at least 2")

    def examine(self, network: Discriminator) -> Diagnostics:
        """All measures of a frozen network."""
        counts = {"real": len(self.real)}
        for name, one in self.against.items():
            counts |= {f"real against {name}": len(one.real), name: len(one.other)}
        return Diagnostics(
            counts, {name: self._along(network, path) for name, path in self.paths.items()}
        )

    def _along(self, network: Discriminator, path: LevelCoupling) -> PathDiagnostics:
        said: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in self.against}
        levels: list[LevelDiagnostics] = []
        for index in range(self.levels):
            u = (index + 0.5) / self.levels
            for name, one in self.against.items():
                real, other = (
                    logits(network, some, path, u, self.seed) for some in (one.real, one.other)
                )
                said[name].append((real, other))
            at = path.levels(torch.tensor([u], dtype=torch.float64))
            levels.append(
                LevelDiagnostics(
                    u=u,
                    angle=float(torch.maximum(at.audio.angle, at.video.angle)),
                    against={name: _telling(*found[-1]) for name, found in said.items()},
                    denoising=self._denoising(network, path, u),
                )
            )
            self.watch()
        bins = {
            name: reliability(
                torch.cat([real for real, _ in found]), torch.cat([other for _, other in found])
            )
            for name, found in said.items()
        }
        errors = {name: calibration_error(one) for name, one in bins.items()}
        return PathDiagnostics(tuple(levels), bins, errors)

    def _denoising(
        self, network: Discriminator, path: LevelCoupling, u: float
    ) -> dict[str, Denoising]:
        errors: dict[str, list[Tensor]] = {side: [] for side in SIDES}
        snr: dict[str, float] = {}
        for some in add_noise(self.real, path, u, self.seed):
            for side, found in errors_of(network, self.base, some).items():
                errors[side].append(found)
                snr[side] = float(getattr(some.level, side).log_snr[0])
        return {side: _denoised(snr[side], torch.cat(errors[side])) for side in snr}


def paths_of(path: LevelCoupling, *, one_sided: bool) -> dict[str, LevelCoupling]:
    """The paths that sampling walks: ``joint``, and where one side can be given, those."""
    given = {"given video": CleanVideo(path), "given audio": CleanAudio(path)}
    return {"joint": path, **(given if one_sided else {})}


def errors_of(network: Discriminator, base: JointDenoiser, some: NoisedPairs) -> dict[str, Tensor]:
    """‖ε − ε̂‖² of each pair, by the base alone and guided, (n, 2), for each side with noise."""
    z_t, cond = some.z_t, some.pairs.cond
    with torch.no_grad():
        own = base.predict_noise(z_t, some.level, cond)
    text = cond.map(lambda one: one.pooled)
    gradient = log_ratio_gradient(partial(network, level=some.level, text=text), z_t).gradient
    found: dict[str, Tensor] = {}
    for side in SIDES:
        level, eps, predicted = (getattr(one, side) for one in (some.level, some.eps, own))
        if level.is_clean:
            continue
        guided = guide(predicted, getattr(gradient, side), level, torch.ones_like(level.sigma))
        squares = [(eps - one).square().flatten(1).sum(1).double() for one in (predicted, guided)]
        found[side] = torch.stack(squares, 1).cpu()
    return found


def _denoised(log_snr: float, errors: Tensor) -> Denoising:
    base, guided = errors.mean(0).tolist()
    gain = errors[:, 0] - errors[:, 1]
    spread = float(gain.std() / len(gain) ** 0.5) if len(gain) > 1 else 0.0
    return Denoising(log_snr, base, guided, spread)


def _telling(real: Tensor, other: Tensor) -> BinaryScores:
    return BinaryScores(
        accuracy=accuracy(real, other),
        ranking=ranking(real, other),
        calibration_error=calibration_error(reliability(real, other)),
        cross_entropy=cross_entropy(real, other),
        logit_real=float(real.mean()),
        logit_other=float(other.mean()),
    )
