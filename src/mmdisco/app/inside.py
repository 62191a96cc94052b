"""What the discriminator reads and does at each step of a clip, and when things are seen and heard.

The recording computes nothing of its own: it notes logit and gradient of the evaluations that joint
guidance makes anyway.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from mmdisco.core.av import AV, each
from mmdisco.core.log_ratio import LogRatio
from mmdisco.core.noise import NoiseLevel, broadcast_like
from mmdisco.errors import UserError
from mmdisco.evaluation.metrics.features import Times
from mmdisco.generation.pipeline import GenerationRun
from mmdisco.io.files import replacing
from mmdisco.media.clip import AudioVideo
from mmdisco.media.plots import draw_mel, draw_waveform
from mmdisco.media.read import resampled

SOUND_COLOUR = "#b4530a"
PICTURE_COLOUR = "#1d6fb8"


@dataclass(frozen=True)
class StepReading:
    """What the discriminator said at one evaluation.

    Attributes:
        step: Step of the run, from 1.
        log_snr: ln(α²/σ²) of the latents; that of the noisy one where a side is given.
        logit: Logit h, of the first clip of the batch.
        gradient: Norm of σ ∇h in both modalities: the change of ε̂ at joint scale 1.
    """

    step: int
    log_snr: float
    logit: float
    gradient: AV[float]


@dataclass
class GradientRecording:
    """Notes of the evaluations of a run.

    Attributes:
        readings: One of each evaluation, in the order of the run.
    """

    readings: list[StepReading] = field(default_factory=list[StepReading])
    _stops: Tensor = field(default_factory=lambda: torch.zeros(0))

    def attach(self, run: GenerationRun) -> GenerationRun:
        """Return the run with its evaluations noted here."""
        self._stops = _noisier(run.sampler.levels())
        reuse = replace(run.settings.reuse, watch=self.note)
        return replace(run, settings=replace(run.settings, reuse=reuse))

    def note(self, found: LogRatio, level: AV[NoiseLevel]) -> None:
        """Add a reading."""
        here = float(_noisier(level)[0])
        change = each(lambda g, at: broadcast_like(at.sigma, g) * g, found.gradient, level)
        norms = change.map(lambda one: float(one[0].norm()))
        step = int((self._stops - here).abs().argmin()) + 1
        self.readings.append(StepReading(step, here, float(found.logit[0]), norms))


def _noisier(levels: AV[NoiseLevel]) -> Tensor:
    level = levels.video if levels.audio.is_clean else levels.audio
    return level.log_snr


@dataclass(frozen=True, eq=False)
class EventTimes:
    """When something happens, in seconds.

    Attributes:
        seen: In the pixels; None where nothing here can tell.
        heard: In the waveform.
    """

    seen: Times | None
    heard: Times


def event_times(clip: AudioVideo, *, sounding_objects: bool) -> EventTimes:
    """Detect events in a clip.

    Args:
        clip: The clip.
        sounding_objects: Whether it shows what the embedded pair makes. Of other clips, peaks of
            motion are what is seen, if OpenCV is installed.
    """
    from mmdisco.evaluation.metrics.av_align import CURRENT, motion, motion_peaks
    from mmdisco.evaluation.metrics.sounding_objects.detect_audio import onsets
    from mmdisco.evaluation.metrics.sounding_objects.detect_video import detect_video
    from mmdisco.media.sounding_objects.scene import SAMPLE_RATE

    heard = onsets(resampled(clip.audio, SAMPLE_RATE).waveform)
    if sounding_objects:
        return EventTimes(detect_video(clip.video).events, heard)
    try:
        moved = motion(clip.video)
    except UserError:  # OpenCV is not installed
        return EventTimes(None, heard)
    return EventTimes(motion_peaks(moved, float(clip.video.fps), CURRENT.least_motion), heard)


def draw_inside(
    path: Path, readings: Sequence[StepReading], clip: AudioVideo, events: EventTimes
) -> None:
    """Draw logit and gradient by step, waveform and spectrogram with the events, as PNG.

    Raises:
        UserError: ``path`` cannot be written.
    """
    figure = Figure(figsize=(9, 8.4), layout="constrained")
    axes = figure.subplots(4, 1, gridspec_kw={"height_ratios": [1, 1, 0.8, 1.1]})
    logit, gradient, wave, mel = axes
    steps = [one.step for one in readings]
    logit.plot(steps, [one.logit for one in readings], "o-", color="#444444", markersize=4)
    logit.axhline(0, color="#bbbbbb", linewidth=0.8)
    logit.set_ylabel("logit")
    _mark_levels(logit, readings)
    for name, colour, values in (
        ("sound", SOUND_COLOUR, [one.gradient.audio for one in readings]),
        ("picture", PICTURE_COLOUR, [one.gradient.video for one in readings]),
    ):
        if any(values):
            gradient.plot(steps, values, "o-", label=name, color=colour, markersize=4)
    gradient.set_ylabel("‖σ ∇h‖")
    gradient.set_xlabel("step")
    if gradient.lines:
        gradient.legend(frameon=False)
    draw_waveform(wave, clip.audio)
    draw_mel(mel, clip.audio)
    for axis in (wave, mel):
        low, high = axis.get_ylim()
        axis.vlines(events.heard, low, high, color=SOUND_COLOUR, linewidth=1.4)
        seen = np.empty(0) if events.seen is None else events.seen
        axis.vlines(seen, low, high, color=PICTURE_COLOUR, linewidth=1.4, linestyle="dashed")
        axis.set_xlim(0, float(clip.audio.seconds))
    wave.set_title("events: heard (solid), seen (dashed)", fontsize=10, loc="left")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def _mark_levels(axis: Axes, readings: Sequence[StepReading]) -> None:
    """Write the noise level of some steps along the upper edge."""
    some = readings[:: max(1, len(readings) // 8)]
    upper = axis.secondary_xaxis("top")
    upper.set_xticks([one.step for one in some], [f"{one.log_snr:.1f}" for one in some])
    upper.set_xlabel("ln(α²/σ²)")
