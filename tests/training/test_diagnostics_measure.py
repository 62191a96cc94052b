"""The denoising gain where the answer is known: correlated Gaussians with their exact log ratio."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from mmdisco.core.av import AV
from mmdisco.core.coupling import SameTimestep
from mmdisco.core.denoiser import Conditioning, JointDenoiser
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.noise import broadcast_like, cosine
from mmdisco.core.pairs import Pairs
from mmdisco.data.pairing import shuffle_pairs
from mmdisco.errors import UserError
from mmdisco.training.diagnostics.measure import DiagnosticsRunner, RealVsOther, couplings_of
from mmdisco.training.diagnostics.report import draw_diagnostics, markdown

NULL = AV(Conditioning.none(1), Conditioning.none(1))


class GaussianBases(JointDenoiser):
    """E[ε | x_t] of unit normals, each side alone."""

    def predict_noise(self, z_t, level, cond):
        return AV(
            broadcast_like(level.audio.sigma, z_t.audio) * z_t.audio,
            broadcast_like(level.video.sigma, z_t.video) * z_t.video,
        )


class GaussianRatio(Discriminator):
    """log q(a_t, v_s) − log p(a_t) p(v_s), times a factor that spoils it."""

    def __init__(self, rho, factor=1.0):
        super().__init__()
        self.rho = rho
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, z_t, level, text):
        a, v = z_t.audio.double(), z_t.video.double()
        r = (self.rho * level.audio.alpha * level.video.alpha)[:, None]
        rest = 1 - r.square()
        ratio = -0.5 * rest.log() - (r.square() * (a**2 + v**2) - 2 * r * a * v) / (2 * rest)
        return (self.factor * ratio.sum(1)).float()


def runner_of(rho, elements, count, levels):
    """Pairs of vectors whose elements are correlated, one with one."""
    generator = torch.Generator().manual_seed(0)
    x, rest = torch.randn(2, count, elements, generator=generator)
    y = rho * x + math.sqrt(1 - rho**2) * rest
    none = AV(Conditioning.none(count), Conditioning.none(count))
    real = Pairs(AV(x, y), none)
    shuffled = RealVsOther(*shuffle_pairs(list(range(count))).pairs(real, NULL))
    couplings = couplings_of(SameTimestep(AV(cosine(), cosine())), one_sided=True)
    return DiagnosticsRunner(GaussianBases(), couplings, real, {"shuffled": shuffled}, levels)


def test_the_area_is_the_mutual_information():
    found = runner_of(0.9, 64, 64, levels=14).measure(GaussianRatio(0.9))
    truth = -0.5 * math.log(1 - 0.9**2) * 64
    joint = found.couplings["joint"]
    assert joint.nats("audio") + joint.nats("video") == pytest.approx(truth, rel=0.1)
    for given, made in (("given video", "audio"), ("given audio", "video")):
        along = found.couplings[given]
        assert along.nats(made) == pytest.approx(truth, rel=0.1)
        assert all(set(level.denoising) == {made} for level in along.levels)


def test_the_exact_ratio_is_calibrated_and_a_spoilt_one_gains_less():
    same = runner_of(0.6, 3, 480, levels=4)
    same = replace(same, couplings={"joint": same.couplings["joint"]})
    good, bad = (same.measure(GaussianRatio(0.6, factor)).summary() for factor in (1.0, 3.0))
    assert good["joint: calibration_error against shuffled"] < 0.04
    assert bad["joint: calibration_error against shuffled"] > 0.06
    # the order of the pairs is the same
    name = "joint: ranking against shuffled"
    assert bad[name] == pytest.approx(good[name])
    assert bad["joint: nats audio"] < good["joint: nats audio"] - 0.05


def test_noise_is_the_same_every_time():
    same = runner_of(0.9, 2, 32, levels=2)
    assert same.measure(GaussianRatio(0.9)) == same.measure(GaussianRatio(0.9))


def test_report_has_every_level_and_a_picture(tmp_path):
    found = runner_of(0.9, 2, 32, levels=3).measure(GaussianRatio(0.9))
    text = markdown(found)
    assert text.count("## ") == 3
    assert text.count("\n| 0.") == 9
    assert "32 real" in text
    assert (
        found.record()["couplings"]["joint"]["levels"][0]["against"]["shuffled"]["accuracy"] > 0.6
    )
    draw_diagnostics(tmp_path / "diagnostics.png", found)
    assert (tmp_path / "diagnostics.png").read_bytes().startswith(b"\x89PNG")


def test_one_level_is_no_curve():
    with pytest.raises(UserError, match="at least 2"):
        runner_of(0.9, 2, 32, levels=1)
