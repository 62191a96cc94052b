"""Closed forms of the method's parts: base models, a joint model, the log ratio, exact pairs."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from mmdisco.core.av import AV
from mmdisco.core.denoiser import Conditioning, Denoiser, JointDenoiser
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.noise import NoiseLevel, NoiseSchedule
from mmdisco.core.pairs import Pairs, PairSource
from mmdisco.experiments.toy.mixture import Mixture
from mmdisco.experiments.toy.problems import ToyProblem
from mmdisco.shapes import Latent, Logit


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
