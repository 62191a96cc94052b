"""Sampling of MM-Diffusion as it is released: 20 evaluations at equal steps of the log-SNR.

The general sampler with the release's own coupling, spacing and solver. Knows no network.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from mmdisco.adapters.mmdiffusion.solver import SinglestepDPMSolver
from mmdisco.core.av import AV, each
from mmdisco.core.coupling import LevelCoupling
from mmdisco.core.denoiser import Conditioning, JointDenoiser
from mmdisco.core.noise import NoiseLevel, NoiseSchedule
from mmdisco.core.sampler import Sampler, TimestepSpacing
from mmdisco.errors import UserError
from mmdisco.shapes import PerSample, Table

EVALUATIONS = 20


@dataclass(frozen=True)
class ContinuousPath(LevelCoupling):
    """Coupling with ln(α²/σ²) linear in u, from the first row (0) to the last (1).

    Between the rows of the VP tables ln α is linear in t, as in DPM-Solver, so a time need not be
    whole.

    Attributes:
        schedules: Noise schedule of either modality.
    """

    schedules: AV[NoiseSchedule]

    @override
    def levels(self, u: PerSample) -> AV[NoiseLevel]:
        return self.schedules.map(lambda schedule: _level(schedule, u.to(torch.float64)))


def _level(schedule: NoiseSchedule, u: PerSample) -> NoiseLevel:
    cleanest, noisiest = schedule.levels().log_snr[[0, -1]]
    log_snr = cleanest + u * (noisiest - cleanest)
    log_alpha = functional.logsigmoid(log_snr) / 2
    t = np.interp(
        log_alpha.numpy(), schedule.alphas.log().flip(0).numpy(), schedule.times.flip(0).numpy()
    )
    # a row that is met exactly must not fall below itself by rounding: ``AtTrainedTimes`` would
    # take the row before
    return NoiseLevel(torch.from_numpy(t.round(9)), log_alpha.exp(), torch.sigmoid(-log_snr).sqrt())


def _row(schedule: NoiseSchedule, level: NoiseLevel) -> NoiseLevel:
    return level if level.is_clean else schedule.level(level.t.floor())


@dataclass(frozen=True)
class MMDiffusionSpacing(TimestepSpacing):
    """Spacing in equal steps of u without the end: u = k/N for k = N, …, 1."""

    @override
    def stops(self, path: LevelCoupling, steps: int) -> Table:
        if steps < 1:
            raise UserError(f"{steps} sampling steps: ask for at least 1")
        return torch.arange(steps, 0, -1, dtype=torch.float64) / steps


@dataclass(frozen=True)
class AtTrainedTimes(JointDenoiser):
    """Denoiser evaluated at the last row of its schedule that is no noisier than the level.

    The released sampler steps between levels of any time, but evaluates network and discriminator
    at whole ones, and takes σ of the guidance from there.

    Attributes:
        denoiser: The denoiser, guided or not.
        schedules: Noise schedules with times 0, 1, 2, ….
    """

    denoiser: JointDenoiser
    schedules: AV[NoiseSchedule]

    @override
    def predict_noise(
        self, z_t: AV[Tensor], level: AV[NoiseLevel], cond: AV[Conditioning]
    ) -> AV[Tensor]:
        return self.denoiser.predict_noise(z_t, each(_row, self.schedules, level), cond)


def released_sampler(schedules: AV[NoiseSchedule], evaluations: int = EVALUATIONS) -> Sampler:
    """Build the sampler of the release, for a denoiser ``AtTrainedTimes``.

    Its last latents keep the noise of the schedule's first row, σ = 0.01, as the released ones do.

    Args:
        schedules: Noise schedules of MM-Diffusion.
        evaluations: Evaluations of the network.

    Raises:
        UserError: Fewer than one evaluation.
    """
    path = ContinuousPath(schedules)
    ends = path.levels(torch.zeros(1, dtype=torch.float64))
    return Sampler(path, ends.map(SinglestepDPMSolver), evaluations, MMDiffusionSpacing())
