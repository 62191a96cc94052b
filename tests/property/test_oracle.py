"""With the exact log ratio the guided noise is the joint noise, in every parameterisation."""

import pytest
import torch
from closeness import assert_close

from mmdisco.core.av import AV, each
from mmdisco.core.coupling import SameLogSNR, SameTimestep
from mmdisco.core.denoiser import Conditioning, IndependentDenoisers
from mmdisco.core.guidance import ConstantScale, JointGuidance
from mmdisco.core.log_ratio import log_ratio_gradient
from mmdisco.core.losses import NoisedPairs
from mmdisco.core.noise import (
    NoiseLevel,
    broadcast_like,
    cosine,
    flow_matching,
    linear,
    scaled_linear,
    variance_exploding,
)
from mmdisco.core.pairs import Pairs
from mmdisco.core.parameterization import CleanSample, Epsilon, FlowVelocity, VPrediction
from mmdisco.core.rng import NoiseSource
from mmdisco.core.sampler import LogSNRSpacing, Sampler
from mmdisco.core.schedulers import solver
from mmdisco.discriminators.correlation import PairwiseDiscriminator
from mmdisco.discriminators.mlp import VectorDiscriminator
from mmdisco.experiments.toy.problems import (
    ExactLogRatio,
    JointMixtureDenoiser,
    MixtureDenoiser,
    problem,
)
from mmdisco.training.contrastive import ContrastiveLoss

SCHEDULES = {
    "linear": linear(),
    "scaled": scaled_linear(),
    "cosine": cosine(),
    "ve": variance_exploding(),
    "flow": flow_matching(),
}
PREDICTIONS = [Epsilon(), CleanSample(), VPrediction(), FlowVelocity()]


def oracle(name, setting="ind"):
    goal = problem(name, setting)
    schedule = linear()
    base = IndependentDenoisers(goal.bases.map(lambda law: MixtureDenoiser(law, schedule)))
    return goal, base, ExactLogRatio(goal.joint, goal.bases)


def noisy(goal, levels, generator, dtype=torch.float64):
    count = len(levels.audio.sigma)
    z_0 = goal.split(goal.joint.sample(count, generator))
    eps = z_0.map(lambda x: torch.randn(x.shape, generator=generator, dtype=torch.float64))
    return each(NoiseLevel.add_noise, levels, z_0, eps).map(lambda x: x.to(dtype))


def none(count):
    return AV(Conditioning.none(count), Conditioning.none(count))


@pytest.mark.parametrize("audio", SCHEDULES)
@pytest.mark.parametrize("video", SCHEDULES)
@pytest.mark.parametrize("name", ["gaussian", "mixture"])
def test_exact_ratio_gives_the_joint_noise(audio, video, name, generator):
    goal, base, ratio = oracle(name, "ind")
    path = SameTimestep(AV(SCHEDULES[audio], SCHEDULES[video]))
    levels = path.levels(torch.linspace(0, 1, 64, dtype=torch.float64))
    guided = JointGuidance(base, ratio, AV(ConstantScale(), ConstantScale()))
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        z = noisy(goal, levels, generator, dtype)
        got = guided.predict_noise(z, levels, none(64))
        want = JointMixtureDenoiser(goal.joint).predict_noise(z, levels, none(64))
        # ε has unit size; where σ is large, differences of size 60 are divided by 60
        assert_close(got.audio, want.audio, rtol=tolerance)
        assert_close(got.video, want.video, rtol=tolerance)


@pytest.mark.parametrize("setting", ["ind", "ood"])
def test_exact_ratio_gives_the_joint_noise_of_vectors(setting, generator):
    goal, base, ratio = oracle("vectors", setting)
    levels = SameTimestep(AV(cosine(), linear())).levels(
        torch.rand(32, generator=generator).double()
    )
    z = noisy(goal, levels, generator)
    guided = JointGuidance(base, ratio, AV(ConstantScale(), ConstantScale()))
    got = guided.predict_noise(z, levels, none(32))
    want = JointMixtureDenoiser(goal.joint).predict_noise(z, levels, none(32))
    assert_close(got.audio, want.audio, rtol=1e-12)
    assert_close(got.video, want.video, rtol=1e-12)


@pytest.mark.parametrize("prediction", PREDICTIONS, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_correction_in_any_parameterisation_is_the_joint_output(prediction, schedule, generator):
    goal, base, ratio = oracle("gaussian")
    own = SCHEDULES[schedule]
    levels = SameTimestep(AV(own, own)).levels(torch.linspace(0.01, 0.99, 32, dtype=torch.float64))
    z = noisy(goal, levels, generator)
    text = AV(torch.zeros(32, 0), torch.zeros(32, 0))
    gradient = log_ratio_gradient(lambda pair: ratio(pair, levels, text), z).gradient.audio
    base_eps = base.predict_noise(z, levels, none(32)).audio
    joint_eps = JointMixtureDenoiser(goal.joint).predict_noise(z, levels, none(32)).audio
    level = levels.audio
    output = prediction.from_eps(base_eps, z.audio, level)
    change = -broadcast_like(level.sigma, gradient) * gradient
    corrected = output + broadcast_like(prediction.gain(level), change) * change
    want = prediction.from_eps(joint_eps, z.audio, level)
    scale = broadcast_like(prediction.gain(level).abs() + 1, want)
    assert_close(corrected / scale, want / scale, rtol=1e-12)


@pytest.mark.parametrize("prediction", PREDICTIONS, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_conversion_to_noise_and_back_is_the_identity(prediction, schedule, generator):
    level = SCHEDULES[schedule].levels()
    count = len(level.sigma)
    eps, x_0 = torch.randn(2, count, 3, generator=generator, dtype=torch.float64)
    x_t = level.add_noise(x_0, eps)
    there = prediction.from_eps(eps, x_t, level)
    assert_close(prediction.to_eps(there, x_t, level), eps, rtol=1e-8)


def test_scale_zero_is_the_bases_bit_for_bit(generator):
    goal, base, ratio = oracle("8gaussians", "ood")
    levels = SameTimestep(AV(linear(), cosine())).levels(
        torch.rand(64, generator=generator).double()
    )
    z = noisy(goal, levels, generator, torch.float32)
    guided = JointGuidance(base, ratio, AV(ConstantScale(0.0), ConstantScale(0.0)))
    got, want = guided.predict_noise(z, levels, none(64)), base.predict_noise(z, levels, none(64))
    assert torch.equal(got.audio, want.audio)
    assert torch.equal(got.video, want.video)
    half = JointGuidance(base, ratio, AV(ConstantScale(0.0), ConstantScale(1.0)))
    got = half.predict_noise(z, levels, none(64))
    assert torch.equal(got.audio, want.audio)
    assert not torch.equal(got.video, want.video)


def test_swapping_the_modalities_commutes(generator):
    goal, base, ratio = oracle("mixture", "ood")
    levels = SameTimestep(AV(linear(), flow_matching())).levels(
        torch.rand(32, generator=generator).double()
    )
    z = noisy(goal, levels, generator)
    guided = JointGuidance(base, ratio, AV(ConstantScale(1.0), ConstantScale(2.0)))
    got = guided.predict_noise(z, levels, none(32))
    joint = goal.joint
    swapped_joint = type(joint)(joint.means.flip(1), joint.covariance.flip(0, 1), joint.weights)
    swapped = JointGuidance(
        IndependentDenoisers(base.bases.swap()),
        ExactLogRatio(swapped_joint, goal.bases.swap()),
        AV(ConstantScale(2.0), ConstantScale(1.0)),
    )
    mirrored = swapped.predict_noise(z.swap(), levels.swap(), none(32)).swap()
    assert_close(mirrored.audio, got.audio, rtol=1e-12)
    assert_close(mirrored.video, got.video, rtol=1e-12)


@pytest.mark.parametrize("kind", [SameTimestep, SameLogSNR])
def test_path_ends_hold_the_least_and_the_most_noise(kind):
    levels = kind(AV(linear(), cosine(250))).levels(torch.tensor([0.0, 0.5, 1.0]).double())
    for level in (levels.audio, levels.video):
        assert level.angle[0] < 0.02
        assert level.angle[2] > 0.99
        assert level.angle[0] < level.angle[1] < level.angle[2]


def test_log_snr_path_pairs_equal_ratios():
    levels = SameLogSNR(AV(linear(), variance_exploding(500))).levels(torch.linspace(0, 1, 101))
    assert_close(levels.audio.log_snr, levels.video.log_snr, rtol=2e-4)


def test_index_path_pairs_equal_shares_of_tables_of_any_length():
    levels = SameTimestep(AV(linear(1000), linear(100))).levels(torch.tensor([0.0, 1 / 3, 1.0]))
    assert_close(levels.audio.t, torch.tensor([0.0, 333.0, 999.0]).double(), rtol=1e-6)
    assert_close(levels.video.t, torch.tensor([0.0, 33.0, 99.0]).double(), rtol=1e-6)


@pytest.mark.parametrize("name", ["ddim", "euler-ancestral", "dpm++2m", "sde-dpm++2m"])
@pytest.mark.parametrize("setting", ["ind", "ood"])
def test_exact_ratio_gives_the_samples_of_the_joint_in_few_steps(name, setting):
    goal, base, ratio = oracle("mixture", setting)
    guided = JointGuidance(base, ratio, AV(ConstantScale(), ConstantScale()))
    path = SameTimestep(AV(linear(), linear()))
    sampler = Sampler(path, AV(solver(name), solver(name)), 6, LogSNRSpacing())

    def samples(denoiser):
        noise = NoiseSource.from_seeds([0])
        z_T = sampler.initial(noise, AV(torch.Size([64, 1]), torch.Size([64, 1])))
        return sampler.sample(denoiser, z_T.map(torch.Tensor.double), none(64), noise)

    got, want = samples(guided), samples(JointMixtureDenoiser(goal.joint))
    # the tables of diffusers' schedulers are in single precision, the same for both
    assert_close(got.audio, want.audio, rtol=1e-9)
    assert_close(got.video, want.video, rtol=1e-9)


class EveryPair(PairwiseDiscriminator):
    """A multiple of the exact log ratio, of every pair of a group."""

    def __init__(self, ratio, scale):
        super().__init__()
        self.ratio, self.scale = ratio, scale

    def forward(self, z_t, level, text):
        return self.scale * self.ratio(z_t, level, text)

    pairwise_logits = VectorDiscriminator.pairwise_logits


@pytest.mark.parametrize("setting", ["ind", "ood"])
def test_contrast_is_least_at_the_exact_ratio_of_shuffled_pairs(setting, generator):
    goal, base, ratio = oracle("mixture", setting)
    u = torch.rand(100, generator=generator, dtype=torch.float64).repeat_interleave(8)
    levels = SameTimestep(AV(linear(), linear())).levels(u)
    z_0 = goal.split(goal.joint.sample(800, generator))
    eps = z_0.map(lambda x: torch.randn(x.shape, generator=generator, dtype=x.dtype))
    real = NoisedPairs(Pairs(z_0, none(800)), eps, levels)

    def contrast(scale):
        network = EveryPair(ratio, scale)
        loss = ContrastiveLoss(8, per_product_weight=0.0)
        return float(loss.losses(network, base, real, real).discrimination.mean())

    least = contrast(1.0) < min(contrast(0.5), contrast(1.5))
    # out of distribution the ratio holds the marginals as well, which no shuffling reveals
    assert least == (setting == "ind")
