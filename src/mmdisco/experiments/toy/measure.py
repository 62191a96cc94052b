"""Distance of samples to a known joint, from clean samples and closed forms.

Total variation of a histogram is the main metric: support coverage, marginal distances and k-NN
mutual information can each look perfect on samples that are wrong.
"""

import torch
from torch import Generator, Tensor

from mmdisco.core.av import AV, each
from mmdisco.core.coupling import LevelCoupling
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.log_ratio import log_ratio_gradient
from mmdisco.core.noise import NoiseLevel, broadcast_like
from mmdisco.experiments.toy.exact import ExactLogRatio
from mmdisco.experiments.toy.mixture import Mixture
from mmdisco.experiments.toy.problems import ToyProblem

REFERENCE_SAMPLES = 400_000
BINS = 24
EXTENT = 3.0
SEED = 3


def histogram(points: Tensor) -> Tensor:
    """Compute shares of points in 24 × 24 cells of [−3, 3]², the last entry outside."""
    cell = ((points.double() + EXTENT) / (2 * EXTENT) * BINS).floor().long()
    inside = ((cell >= 0) & (cell < BINS)).all(dim=1)
    index = torch.where(inside, cell[:, 0] * BINS + cell[:, 1], BINS * BINS)
    return torch.bincount(index, minlength=BINS * BINS + 1).double() / len(points)


def total_variation(problem: ToyProblem, points: Tensor) -> float:
    """Compute ½ Σ |share − true share| over the cells, for planes; 0 is perfect, 1 disjoint.

    The truth is a histogram of 400,000 evenly drawn samples. 10,000 true samples score about 0.03
    to 0.05: the floor of this measure.
    """
    truth = problem.joint.sample_evenly(REFERENCE_SAMPLES, _seeded())
    return float(0.5 * (histogram(points) - histogram(truth)).abs().sum())


def sliced_wasserstein(problem: ToyProblem, points: Tensor, projections: int = 128) -> float:
    """Compute the sliced 2-Wasserstein distance to as many true samples, in random directions."""
    generator = _seeded()
    truth = problem.joint.sample_evenly(len(points), generator)
    direction = torch.randn(points.shape[1], projections, generator=generator).double()
    direction = direction / direction.norm(dim=0)
    ours, theirs = ((one.double() @ direction).sort(dim=0).values for one in (points, truth))
    return float((ours - theirs).square().mean().sqrt())


def class_agreement(problem: ToyProblem, points: Tensor) -> float:
    """Compute the share of pairs whose halves, classified separately, have the same component."""

    def classes(start: int, stop: int) -> Tensor:
        # not marginal(), which merges and reorders: a class must have the same index on either side
        law, part = problem.joint, slice(start, stop)
        half = Mixture(law.means[:, part], law.covariance[part, part], law.weights)
        return half.responsibilities(points[:, part]).argmax(dim=1)

    audio, video = classes(0, problem.width), classes(problem.width, 2 * problem.width)
    return float((audio == video).double().mean())


def gradient_r2(
    problem: ToyProblem, path: LevelCoupling, discriminator: Discriminator, count: int = 8000
) -> float:
    """Compute 1 − E‖σ (∇h − ∇h*)‖² / E‖σ ∇h*‖² on noised real pairs, u uniform; no sampler."""
    generator = _seeded()
    levels = path.levels(torch.rand(count, generator=generator, dtype=torch.float64))
    z_0 = problem.split(problem.joint.sample(count, generator).float())
    eps = z_0.map(lambda x: torch.randn(x.shape, generator=generator))
    z_t = each(NoiseLevel.add_noise, levels, z_0, eps)
    text = z_0.map(lambda x: x[:, :0])
    exact = ExactLogRatio(problem.joint, problem.bases)
    ours, truth = (
        log_ratio_gradient(lambda z, h=h: h(z, levels, text), z_t).gradient
        for h in (discriminator, exact)
    )

    def power(gradient: AV[Tensor]) -> float:
        noise = each(lambda g, level: broadcast_like(level.sigma, g) * g, gradient, levels)
        return float(noise.audio.square().sum() + noise.video.square().sum())

    return 1 - power(each(torch.sub, ours, truth)) / power(truth)


def measures(problem: ToyProblem, points: Tensor) -> dict[str, float]:
    """Compute all metrics that fit the problem's dimension."""
    common = {"sw2": sliced_wasserstein(problem, points)}
    if problem.width == 1:
        return {"tv": total_variation(problem, points), **common}
    return {"agreement": class_agreement(problem, points), **common}


def _seeded() -> Generator:
    return torch.Generator().manual_seed(SEED)
