"""Couplings: the pairs of noise levels that training and sampling visit.

The logit is the log ratio at a *pair* of levels, so a discriminator trained on one coupling and
sampled on another samples the wrong joint. A coupling is therefore an object of its own that
both sides are given: u in [0, 1] maps to one level per modality, 0 the least noise, 1 the most.
It depends on schedules alone, not on networks, samplers or losses.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch

from mmdisco.core.av import AV, each
from mmdisco.core.noise import NoiseLevel, NoiseSchedule
from mmdisco.io.shapes import PerSample


class LevelCoupling(ABC):
    """Map from u in [0, 1] to a pair of noise levels; either rises with u or stays clean."""

    @abstractmethod
    def levels(self, u: PerSample) -> AV[NoiseLevel]:
        """Return the pair of levels at each ``u``, float64."""


@dataclass(frozen=True)
class SameTimestep(LevelCoupling):
    """Both schedules at the same fraction of their own table, whatever their lengths.

    Attributes:
        schedules: Schedules of either side.
        shift: Timestep shift s of either side: more than 1 gives more steps to high noise levels
            (Esser et al. 2024, Eq. 23).
    """

    schedules: AV[NoiseSchedule]
    shift: AV[float] = field(default_factory=lambda: AV(1.0, 1.0))

    def levels(self, u: PerSample) -> AV[NoiseLevel]:
        """Return the levels at time t_first + u' (t_last − t_first), u' = s u / (1 + (s − 1) u)."""

        def at(schedule: NoiseSchedule, shift: float) -> NoiseLevel:
            first, last = float(schedule.times[0]), float(schedule.times[-1])
            share = shift * u.to(torch.float64) / (1 + (shift - 1) * u.to(torch.float64))
            return schedule.level(first + share * (last - first))

        return each(at, self.schedules, self.shift)


@dataclass(frozen=True)
class SameLogSNR(LevelCoupling):
    """Both modalities at the same ln(α²/σ²), paced by the audio's schedule, where both reach."""

    schedules: AV[NoiseSchedule]

    def levels(self, u: PerSample) -> AV[NoiseLevel]:
        """Return levels of equal log-SNR; u runs over the times that both schedules cover."""
        ends = self.schedules.map(lambda schedule: schedule.levels().log_snr[[0, -1]])
        cleanest = torch.minimum(ends.audio[0], ends.video[0])
        noisiest = torch.maximum(ends.audio[1], ends.video[1])
        first, last = self.schedules.audio.level_at_log_snr(torch.stack([cleanest, noisiest])).t
        audio = self.schedules.audio.level(first + u.to(torch.float64) * (last - first))
        return AV(audio, self.schedules.video.level_at_log_snr(audio.log_snr))


@dataclass(frozen=True)
class CleanVideo(LevelCoupling):
    """Another coupling with the video clean throughout: sound for a given video.

    Noising the given side too would not sample the conditional, even with the exact log ratio;
    h(x_t, y_0) does.
    """

    path: LevelCoupling

    def levels(self, u: PerSample) -> AV[NoiseLevel]:
        """Return the coupling's audio levels beside a clean video."""
        return AV(self.path.levels(u).audio, NoiseLevel.clean(len(u)))


@dataclass(frozen=True)
class CleanAudio(LevelCoupling):
    """Another coupling with the audio clean throughout: video for a given sound."""

    path: LevelCoupling

    def levels(self, u: PerSample) -> AV[NoiseLevel]:
        """Return the coupling's video levels beside a clean audio."""
        return AV(NoiseLevel.clean(len(u)), self.path.levels(u).video)
