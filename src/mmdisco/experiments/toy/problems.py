"""Problems of the toy study with known answers: joints, base models, log ratio, exact pairs.

Every joint is a Gaussian mixture: curves consist of many narrow components. Each coordinate of a
plane is a "modality"; the last problem pairs two vectors of R⁸.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from mmdisco.core.av import AV
from mmdisco.core.denoiser import Conditioning, Denoiser, JointDenoiser
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.noise import NoiseLevel, NoiseSchedule
from mmdisco.core.pairs import Pairs, PairSource
from mmdisco.errors import UserError
from mmdisco.experiments.toy.mixture import Mixture, gaussian, isotropic
from mmdisco.io.shapes import Latent, Logit

OOD_DEVIATION = 2.0


@dataclass(frozen=True)
class ToyProblem:
    """A joint distribution, and the two distributions whose product the base models sample.

    Attributes:
        name: Key in ``JOINTS``.
        setting: Key in ``SETTINGS``.
        joint: Distribution of [audio, video], audio's coordinates first.
        bases: Distribution of each base model.
    """

    name: str
    setting: str
    joint: Mixture
    bases: AV[Mixture]

    @property
    def width(self) -> int:
        """Dimension of one modality."""
        return self.joint.means.shape[1] // 2

    def split(self, x: Tensor) -> AV[Tensor]:
        """Split rows of the joint into pairs."""
        return AV(x[:, : self.width], x[:, self.width :])


def correlated_gaussian() -> Mixture:
    """Unit variances, correlation 0.9."""
    return gaussian([[1.0, 0.9], [0.9, 1.0]])


def three_gaussians() -> Mixture:
    """Three tilted components of unequal weight."""
    means = torch.tensor([[-1.0, -1.0], [0.0, 1.2], [1.2, -0.2]]).double()
    covariance = torch.tensor([[0.08, 0.06], [0.06, 0.08]]).double()
    return Mixture(means, covariance, torch.tensor([0.3, 0.4, 0.3]).double())


def eight_gaussians() -> Mixture:
    """Eight round components on a circle of radius 1.4."""
    angle = torch.arange(8).double() * (math.pi / 4)
    return isotropic(1.4 * torch.stack([angle.cos(), angle.sin()], dim=1), 0.1)


def two_moons() -> Mixture:
    """Two interleaved half circles, 64 components each."""
    angle = torch.linspace(0, math.pi, 64).double()
    upper = torch.stack([angle.cos(), angle.sin()], dim=1)
    lower = torch.stack([1 - angle.cos(), 0.5 - angle.sin()], dim=1)
    return isotropic(_standardise(torch.cat([upper, lower])), 0.08)


def swiss_roll() -> Mixture:
    """A spiral of one and a half to four and a half half-turns, 160 components."""
    angle = 1.5 * math.pi * (1 + 2 * torch.linspace(0, 1, 160).double() ** 0.8)
    roll = angle[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1)
    return isotropic(_standardise(roll), 0.06)


def checkerboard() -> Mixture:
    """Eight squares of a 4 × 4 board, each filled by 6 × 6 components."""
    offset = (torch.arange(6).double() + 0.5) / 6
    squares = [(i, j) for i in range(4) for j in range(4) if (i + j) % 2 == 0]
    means = torch.tensor(
        [(i + float(u), j + float(v)) for i, j in squares for u in offset for v in offset]
    ).double()
    spread = means.std(dim=0, correction=0)
    return isotropic((means - 2) / spread, 0.5 / 6 / float(spread[0]))


def coupled_vectors() -> Mixture:
    """Two vectors of R⁸ that share a class of ten; one offset is the other's, rotated."""
    # a seed whose classes lie apart in both modalities, so that true pairs agree
    generator = torch.Generator().manual_seed(7)
    means = 0.9 * torch.randn(10, 16, generator=generator, dtype=torch.float64)
    rotation, _ = torch.linalg.qr(torch.randn(8, 8, generator=generator, dtype=torch.float64))
    variance, correlation = 0.15, 0.9
    eye = torch.eye(8).double()
    covariance = variance * torch.cat(
        [
            torch.cat([eye, correlation * rotation.mT], dim=1),
            torch.cat([correlation * rotation, eye], dim=1),
        ]
    )
    return Mixture(means - means.mean(dim=0), covariance, torch.full((10,), 0.1).double())


def in_distribution(joint: Mixture) -> AV[Mixture]:
    """IND: base models of the joint's marginals, so only the pairing is missing."""
    width = joint.means.shape[1] // 2
    return AV(joint.marginal(0, width), joint.marginal(width, 2 * width))


def out_of_distribution(joint: Mixture) -> AV[Mixture]:
    """OOD: base models of N(0, 2²) per coordinate, so the marginals are wrong as well."""
    width = joint.means.shape[1] // 2
    base = isotropic(torch.zeros(1, width), OOD_DEVIATION)
    return AV(base, base)


JOINTS: dict[str, Callable[[], Mixture]] = {
    "gaussian": correlated_gaussian,
    "mixture": three_gaussians,
    "8gaussians": eight_gaussians,
    "moons": two_moons,
    "swissroll": swiss_roll,
    "checkerboard": checkerboard,
    "vectors": coupled_vectors,
}
SETTINGS: dict[str, Callable[[Mixture], AV[Mixture]]] = {
    "ind": in_distribution,
    "ood": out_of_distribution,
}


def problem(name: str, setting: str) -> ToyProblem:
    """Look up a problem by name and setting.

    Raises:
        UserError: Either is unknown.
    """
    if name not in JOINTS:
        raise UserError(f"unknown problem {name!r}: choose one of {', '.join(JOINTS)}")
    if setting not in SETTINGS:
        raise UserError(f"unknown setting {setting!r}: choose one of {', '.join(SETTINGS)}")
    joint = JOINTS[name]()
    return ToyProblem(name, setting, joint, SETTINGS[setting](joint))


def _standardise(points: Tensor) -> Tensor:
    return (points - points.mean(dim=0)) / points.std(dim=0, correction=0)


def _per_coordinate(per_sample: Tensor, width: int) -> Tensor:
    return per_sample[:, None].expand(-1, width)


@dataclass(frozen=True)
class MixtureDenoiser(Denoiser):
    """A base model that knows its distribution: ε = −σ ∇ log p."""

    law: Mixture
    own_schedule: NoiseSchedule

    @property
    def schedule(self) -> NoiseSchedule:
        """Schedule it denoises on."""
        return self.own_schedule

    def predict_noise(self, x_t: Latent, level: NoiseLevel, cond: Conditioning) -> Latent:
        """Compute the exact ε̂, in float64."""
        alpha, sigma = (_per_coordinate(one, x_t.shape[1]) for one in (level.alpha, level.sigma))
        return (-sigma * self.law.score(x_t, alpha, sigma)).to(x_t.dtype)


@dataclass(frozen=True)
class JointMixtureDenoiser(JointDenoiser):
    """A joint base model, at any pair of noise levels."""

    joint: Mixture

    def predict_noise(
        self, z_t: AV[Tensor], level: AV[NoiseLevel], cond: AV[Conditioning]
    ) -> AV[Tensor]:
        """Compute the exact joint ε̂ of both modalities."""
        x, alpha, sigma = _joined(z_t, level)
        eps = (-sigma * self.joint.score(x, alpha, sigma)).to(z_t.audio.dtype)
        width = z_t.audio.shape[1]
        return AV(eps[:, :width], eps[:, width:])


class ExactLogRatio(Discriminator):
    """h = log q(x_t, y_s) − log p(x_t) − log p(y_s), computed from the distributions."""

    def __init__(self, joint: Mixture, bases: AV[Mixture]) -> None:
        super().__init__()
        self._joint = joint
        self._bases = bases

    def forward(self, z_t: AV[Tensor], level: AV[NoiseLevel], text: AV[Tensor]) -> Logit:
        """Compute the exact log ratio, in float64."""
        x, alpha, sigma = _joined(z_t, level)
        width = z_t.audio.shape[1]
        audio, video = slice(0, width), slice(width, None)
        ratio = (
            self._joint.log_density(x, alpha, sigma)
            - self._bases.audio.log_density(x[:, audio], alpha[:, audio], sigma[:, audio])
            - self._bases.video.log_density(x[:, video], alpha[:, video], sigma[:, video])
        )
        return ratio.to(z_t.audio.dtype)


def _joined(z_t: AV[Tensor], level: AV[NoiseLevel]) -> tuple[Tensor, Tensor, Tensor]:
    width = z_t.audio.shape[1]
    alpha, sigma = (
        torch.cat([_per_coordinate(audio, width), _per_coordinate(video, width)], dim=1)
        for audio, video in (
            (level.audio.alpha, level.video.alpha),
            (level.audio.sigma, level.video.sigma),
        )
    )
    return torch.cat([z_t.audio, z_t.video], dim=1), alpha, sigma


@dataclass(frozen=True)
class RealPairs(PairSource):
    """Fresh samples of a problem's joint distribution."""

    problem: ToyProblem

    def draw(self, count: int, generator: Generator) -> Pairs:
        """Draw independent pairs, float32."""
        return _pairs(self.problem.split(self.problem.joint.sample(count, generator)))


@dataclass(frozen=True)
class BasePairs(PairSource):
    """Fresh samples of the two base models, independent of each other."""

    problem: ToyProblem

    def draw(self, count: int, generator: Generator) -> Pairs:
        """Draw independent halves, float32."""
        return _pairs(self.problem.bases.map(lambda law: law.sample(count, generator)))


def _pairs(z_0: AV[Tensor]) -> Pairs:
    return Pairs(z_0.map(lambda x: x.float()), z_0.map(lambda x: Conditioning.none(len(x))))
