"""Diagnostics of a discriminator on held-out pairs along couplings of noise levels.

Pairs at one noise level always get the same noise.
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

CHUNK: Final = 32  # pairs in a batch
STREAM: Final = 2**31  # a stream of random numbers that no step of training draws from


def add_noise(pairs: Pairs, path: LevelCoupling, u: float, seed: int) -> Iterator[NoisedPairs]:
    """Add noise to pairs at one place of a coupling, batch by batch.

    Args:
        pairs: Any number of pairs.
        path: Coupling of the noise levels.
        u: Place, from 0 to 1.
        seed: Seed of the noise, which also depends on ``u``.
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
    """Compute the logit of every pair at one place of a coupling, (n,), on the CPU."""
    return torch.cat(
        [
            network(one.z_t, one.level, one.pairs.cond.map(lambda cond: cond.pooled)).cpu()
            for one in add_noise(pairs, path, u, seed)
        ]
    )


@dataclass(frozen=True)
class RealVsOther:
    """Real pairs and the negatives they are compared with.

    Attributes:
        real: Real pairs held out from training.
        other: Negatives, held out too.
    """

    real: Pairs
    other: Pairs

    @staticmethod
    def drawn(real: PairSource, other: PairSource, count: int, seed: int) -> "RealVsOther":
        """Draw ``count`` pairs from each source."""
        return RealVsOther(
            real.draw(count, seeded_generator(seed, 0)),
            other.draw(count, seeded_generator(seed, 1)),
        )


@dataclass(frozen=True)
class DiagnosticsRunner:
    """Runner of all measurements of a discriminator.

    Attributes:
        base: Frozen base models whose noise prediction its gradient corrects.
        paths: Couplings by name.
        real: Real pairs for the errors of the predicted noise.
        against: Comparisons by the kind of negatives, as ``fake`` and ``shuffled``.
        levels: Number of levels, at equal steps of u.
        seed: Seed of the noise.
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
        """Measure a frozen network in every respect."""
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
    """Return the couplings of sampling: ``joint``, and if supported those with a given side."""
    given = {"given video": CleanVideo(path), "given audio": CleanAudio(path)}
    return {"joint": path, **(given if one_sided else {})}


def errors_of(network: Discriminator, base: JointDenoiser, some: NoisedPairs) -> dict[str, Tensor]:
    """Compute ‖ε − ε̂‖² of each pair, unguided and guided, (n, 2), for each noisy modality."""
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
