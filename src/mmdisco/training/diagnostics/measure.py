"""Diagnostics of a discriminator on held-out pairs along couplings of noise levels.

Pairs at one noise level always get the same noise.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import torch
from torch import Tensor

from mmdisco.core.av import AV
from mmdisco.core.coupling import CleanAudio, CleanVideo, LevelCoupling
from mmdisco.core.denoiser import Conditioning, JointDenoiser
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.guidance import guide
from mmdisco.core.log_ratio import log_ratio_gradient
from mmdisco.core.losses import NoisedPairs
from mmdisco.core.pairs import Pairs
from mmdisco.core.rng import seeded_generator
from mmdisco.data.pairing import select_pairs, shuffle_pairs
from mmdisco.errors import UserError
from mmdisco.training.diagnostics.report import (
    SIDES,
    CouplingDiagnostics,
    Denoising,
    Diagnostics,
    LevelDiagnostics,
)
from mmdisco.training.diagnostics.scores import BinaryScores, calibration_error, reliability

CHUNK: Final = 32  # pairs in a batch
STREAM: Final = 2**31  # a stream of random numbers that no step of training draws from


def add_noise(pairs: Pairs, coupling: LevelCoupling, u: float, seed: int) -> Iterator[NoisedPairs]:
    """Add noise to pairs at one place of a coupling, batch by batch.

    Args:
        pairs: Any number of pairs.
        coupling: Coupling of the noise levels.
        u: Place, from 0 to 1.
        seed: Seed of the noise, which also depends on ``u``.
    """
    generator = seeded_generator(seed, STREAM + round(u * 2**20))
    for first in range(0, len(pairs), CHUNK):
        some = select_pairs(pairs, range(first, min(first + CHUNK, len(pairs))))
        level = coupling.levels(torch.full((len(some),), u, dtype=torch.float64))
        eps = some.z_0.map(lambda x: torch.randn(x.shape, generator=generator))
        yield NoisedPairs(some, eps, level)


@torch.no_grad()
def logits(
    network: Discriminator, pairs: Pairs, coupling: LevelCoupling, u: float, seed: int
) -> Tensor:
    """Compute the logit of every pair at one place of a coupling, (n,), on the CPU."""
    return torch.cat(
        [
            network(one.z_t, one.level, one.pairs.cond.map(lambda cond: cond.pooled)).cpu()
            for one in add_noise(pairs, coupling, u, seed)
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


def comparisons(
    real: Pairs, fake: Pairs, captions: Sequence[Hashable], null: AV[Conditioning]
) -> dict[str, RealVsOther]:
    """Compare real pairs with fakes, and with themselves after a shuffle of their sounds.

    Shuffled pairs hold the same sounds and videos, so only a network that compares the two
    modalities can classify them.

    Args:
        real: Real pairs.
        fake: Fake pairs.
        captions: Key of the caption of each real pair; see ``shuffle_pairs``.
        null: The encoded empty caption, batch size 1.
    """
    shuffled = shuffle_pairs(captions).pairs(real, null)
    return {"fake": RealVsOther(real, fake), "shuffled": RealVsOther(*shuffled)}


@dataclass(frozen=True)
class LevelLogits:
    """Logits at one place of a coupling.

    Attributes:
        u: Place, 0 the least noise, 1 the most.
        angle: (2/π) atan(σ/α) of the noisier modality.
        against: Logits of real pairs and of others, by the kind of negatives.
    """

    u: float
    angle: float
    against: Mapping[str, tuple[Tensor, Tensor]]


def logits_by_level(
    network: Discriminator,
    against: Mapping[str, RealVsOther],
    coupling: LevelCoupling,
    levels: int,
    seed: int,
) -> Iterator[LevelLogits]:
    """Compute the logits of all comparisons at ``levels`` equal steps of u, least noise first."""
    for index in range(levels):
        u = (index + 0.5) / levels
        at = coupling.levels(torch.tensor([u], dtype=torch.float64))
        found = {
            name: (
                logits(network, one.real, coupling, u, seed),
                logits(network, one.other, coupling, u, seed),
            )
            for name, one in against.items()
        }
        yield LevelLogits(u, float(torch.maximum(at.audio.angle, at.video.angle)), found)


@dataclass(frozen=True)
class DiagnosticsRunner:
    """Runner of all measurements of a discriminator.

    Attributes:
        base: Frozen base models whose noise prediction its gradient corrects.
        couplings: Couplings by name.
        real: Real pairs for the errors of the predicted noise.
        against: Comparisons by the kind of negatives, as ``fake`` and ``shuffled``.
        levels: Number of levels, at equal steps of u.
        seed: Seed of the noise.
        watch: Called after each level.
    """

    base: JointDenoiser
    couplings: Mapping[str, LevelCoupling]
    real: Pairs
    against: Mapping[str, RealVsOther]
    levels: int = 8
    seed: int = 0
    watch: Callable[[], None] = field(default=lambda: None)

    def __post_init__(self) -> None:
        if self.levels < 2:
            raise UserError(f"{self.levels} noise levels: ask for at least 2")

    def measure(self, network: Discriminator) -> Diagnostics:
        """Measure a frozen network in every respect."""
        counts = {"real": len(self.real)}
        for name, one in self.against.items():
            counts |= {f"real against {name}": len(one.real), name: len(one.other)}
        along = {name: self._along(network, one) for name, one in self.couplings.items()}
        return Diagnostics(counts, along)

    def _along(self, network: Discriminator, coupling: LevelCoupling) -> CouplingDiagnostics:
        found: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in self.against}
        levels: list[LevelDiagnostics] = []
        for one in logits_by_level(network, self.against, coupling, self.levels, self.seed):
            for name, both in one.against.items():
                found[name].append(both)
            scores = {name: BinaryScores.of(*both) for name, both in one.against.items()}
            denoising = self._denoising(network, coupling, one.u)
            levels.append(LevelDiagnostics(one.u, one.angle, scores, denoising))
            self.watch()
        bins = {
            name: reliability(
                torch.cat([real for real, _ in both]), torch.cat([other for _, other in both])
            )
            for name, both in found.items()
        }
        errors = {name: calibration_error(one) for name, one in bins.items()}
        return CouplingDiagnostics(tuple(levels), bins, errors)

    def _denoising(
        self, network: Discriminator, coupling: LevelCoupling, u: float
    ) -> dict[str, Denoising]:
        errors: dict[str, list[Tensor]] = {side: [] for side in SIDES}
        snr: dict[str, float] = {}
        for some in add_noise(self.real, coupling, u, self.seed):
            for side, found in errors_of(network, self.base, some).items():
                errors[side].append(found)
                snr[side] = float(getattr(some.level, side).log_snr[0])
        return {side: Denoising.of(snr[side], torch.cat(errors[side])) for side in snr}


def couplings_of(coupling: LevelCoupling, *, one_sided: bool) -> dict[str, LevelCoupling]:
    """Return the couplings of sampling: ``joint``, and if supported those with a given side."""
    given = {"given video": CleanVideo(coupling), "given audio": CleanAudio(coupling)}
    return {"joint": coupling, **(given if one_sided else {})}


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
