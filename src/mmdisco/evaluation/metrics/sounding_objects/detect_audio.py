"""Detection in the waveform of a sounding-objects clip: onsets, material, pitch and kind.

Onsets are peaks of the spectral flux. Material and pitch are found together: the spectrum after the
onsets, on a logarithmic frequency axis, is compared with templates of every timbre at every pitch;
the largest cosine wins. The kind follows from the decay and the noisiness of the sound.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from mmdisco.evaluation.metrics.features import Times
from mmdisco.media.clip import Audio, Waveform
from mmdisco.media.sounding_objects.scene import SAMPLE_RATE, Colour, ObjectKind, Size, size_of
from mmdisco.media.sounding_objects.sound import FUNDAMENTAL, MIDDLE_RADIUS, PITCH_EXPONENT, TIMBRES

Spectrum = npt.NDArray[np.float64]

_HOP: Final = 80
_WINDOW: Final = 512
_BANDS: Final = 40
_FLOOR: Final = 3e-3  # magnitude below which a band is silent; a sine of amplitude 1 has 1
_HEARD: Final = 1.5  # nepers above silence at which a band is active
_FEW_BANDS: Final = 6
_LAG: Final = 2  # columns over which a rise is measured
_LEAST_FLUX: Final = 0.45  # nepers a band, averaged over the bands
_LEAST_OF_GREATEST: Final = 0.17
_NEIGHBOURHOOD: Final = 0.075  # seconds in which a peak of the flux must be the highest
_DEAD_TIME: Final = 0.15
_EARLY: Final = 0.0065  # seconds by which the flux peaks before the onset

_TAIL: Final = 0.04  # seconds at the end in which an onset cannot be distinguished from the cut

_TONE: Final = (0.012, 0.092)  # seconds after an onset in which the tone is measured
_AXIS: Final = np.geomspace(150, 7200, 220)  # Hz
_BLUR: Final = 0.035  # width of a partial on the axis, in nepers of frequency
_PITCHES: Final = np.geomspace(230, 850, 100)  # Hz
_COMPRESSION: Final = 0.5
_NOISE_MARGIN: Final = 1.5

_HISS_FROM: Final = 6600.0  # Hz; no partial of any timbre reaches it
_NOISY: Final = 0.1  # share of the amplitude above it that only a drum exceeds
_HELD: Final = 0.76  # loudness left at 95 ms that only a beep, or a ringing sound, exceeds
_RINGING: Final = 0.33  # loudness left at 205 ms that only a bell has


@dataclass(frozen=True, eq=False, slots=True)
class Detections:
    """Detections in one modality.

    Attributes:
        kind: ``None`` if no sounding object is detected; then the rest is empty too.
        colour: Nearest by hue, or whose timbre fits best.
        size: Nearest of the three by radius.
        radius: Radius in pixels, seen or of the object with the pitch heard.
        events: Times of contacts and flashes, or onsets, in seconds, ascending.
    """

    kind: ObjectKind | None
    colour: Colour | None
    size: Size | None
    radius: float
    events: Times


def detect_audio(audio: Audio) -> Detections:
    """Detect everything in ``audio``, which must have the data's sample rate."""
    if audio.sample_rate != SAMPLE_RATE:
        raise ValueError(f"sample_rate must be {SAMPLE_RATE}, not {audio.sample_rate}")
    events = onsets(audio.waveform)
    if not len(events):
        return Detections(None, None, None, math.nan, events)
    colour, pitch = _timbre_and_pitch(audio.waveform, events)
    radius = MIDDLE_RADIUS * (FUNDAMENTAL / pitch) ** (1 / PITCH_EXPONENT)
    return Detections(_kind(audio.waveform, events), colour, size_of(radius), radius, events)


def onsets(waveform: Waveform) -> Times:
    """Find the times in seconds at which many bands get louder at once."""
    flux = _flux(waveform)
    flux[-round(_TAIL * SAMPLE_RATE / _HOP) :] = 0
    reach = round(_NEIGHBOURHOOD * SAMPLE_RATE / _HOP)
    least = max(_LEAST_FLUX, _LEAST_OF_GREATEST * float(flux.max(initial=0)))
    found: list[float] = []
    for k in np.flatnonzero(flux > least):
        if flux[k] < flux[max(0, k - reach) : k + reach + 1].max():
            continue
        instant = float(k * _HOP / SAMPLE_RATE) + _EARLY
        if not found or instant - found[-1] > _DEAD_TIME:
            found.append(instant)
    return np.array(found)


def _flux(waveform: Waveform) -> Spectrum:
    """Compute the mean rise of log magnitude around each column over active bands, in nepers.

    Falls count as 0. A dull sound is active in few bands, so inactive ones must not dilute its
    onsets.
    """
    padded = np.pad(waveform, _WINDOW // 2)
    blocks = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    spectrum = np.abs(np.fft.rfft(blocks * np.hanning(_WINDOW), axis=1)) / (_WINDOW / 4)
    bands = np.log(np.maximum(np.sqrt(spectrum**2 @ _bands().T), _FLOOR))
    heard = (bands.max(0) > math.log(_FLOOR) + _HEARD).sum()
    rise = np.maximum(bands[2 * _LAG :] - bands[: -2 * _LAG], 0).sum(1) / max(heard, _FEW_BANDS)
    return np.convolve(np.pad(rise, _LAG), np.ones(3) / 3, "same")


@cache
def _bands() -> Spectrum:
    """Assign FFT bins to bands, (bands, bins), evenly spaced in log frequency above 150 Hz."""
    frequency = np.fft.rfftfreq(_WINDOW, 1 / SAMPLE_RATE)
    edges = np.geomspace(150, 8000, _BANDS + 1)
    centre, half = np.sqrt(edges[1:] * edges[:-1]), np.maximum(np.diff(edges) / 2, 16)
    return np.clip(1.5 - np.abs(frequency - centre[:, None]) / half[:, None], 0, 1)


def _timbre_and_pitch(waveform: Waveform, events: Times) -> tuple[Colour, float]:
    """Find the (material, pitch) whose spectrum has the largest cosine with the observed one."""
    heard = sum(_tone(waveform, event) for event in events)
    # White noise grows with √f here, since the bands widen with f; what is left is lines.
    slope = np.sqrt(_AXIS)
    heard = np.maximum(heard - _NOISE_MARGIN * np.median(heard / slope) * slope, 0) ** _COMPRESSION
    names, templates = _templates()
    return names[int((templates @ heard).argmax())]


def _tone(waveform: Waveform, event: float) -> Spectrum:
    """Compute the magnitude on the logarithmic axis shortly after an onset."""
    start, end = (round((event + after) * SAMPLE_RATE) for after in _TONE)
    part = waveform[start:end]
    if len(part) < 2:
        return np.zeros(len(_AXIS))
    spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part)), 4096)) / len(part)
    return np.sqrt(_axis_weights() @ spectrum**2)


@cache
def _axis_weights() -> Spectrum:
    """Compute Gaussian weights of the FFT bins around every frequency of the axis."""
    frequency = np.fft.rfftfreq(4096, 1 / SAMPLE_RATE)
    away = (frequency - _AXIS[:, None]) / (_BLUR * _AXIS[:, None])
    return np.exp(-(away**2) / 2)


@cache
def _templates() -> tuple[list[tuple[Colour, float]], Spectrum]:
    """List every (material, pitch) with its spectrum of unit norm, (pairs, axis)."""
    names = [(colour, float(pitch)) for colour in TIMBRES for pitch in _PITCHES]
    rows: list[Spectrum] = []
    for colour, pitch in names:
        frequencies = pitch * np.array(TIMBRES[colour].partials)[:, None]
        # The analysis window is 80 ms long: no line is narrower than 14 Hz.
        width = np.hypot(_BLUR, 14 / frequencies)
        lines = np.exp(-((np.log(_AXIS / frequencies) / width) ** 2) / 2)
        power = np.array(TIMBRES[colour].amplitudes) ** 2 @ lines
        rows.append(power ** (_COMPRESSION / 2))
    templates = np.stack(rows)
    return names, templates / np.linalg.norm(templates, axis=1, keepdims=True)


def _kind(waveform: Waveform, events: Times) -> ObjectKind:
    """Classify: noisy is a drum, ringing a bell, held and then cut off a lamp, else a ball."""
    hiss, held, ringing = np.median([_envelope(waveform, event) for event in events], axis=0)
    if hiss > _NOISY:
        return ObjectKind.DRUM
    if ringing > _RINGING:
        return ObjectKind.BELL
    return ObjectKind.LAMP if held > _HELD else ObjectKind.BALL


def _envelope(waveform: Waveform, event: float) -> tuple[float, float, float]:
    """Compute the share of high noise early on, and loudness at 95 ms and 205 ms relative to it."""
    start = round(event * SAMPLE_RATE)
    part = np.zeros(round(0.24 * SAMPLE_RATE))
    heard = waveform[start : start + len(part)]
    part[: len(heard)] = heard
    early, middle, late = (
        part[round(a * SAMPLE_RATE) : round(b * SAMPLE_RATE)]
        for a, b in ((0.012, 0.055), (0.075, 0.115), (0.185, 0.225))
    )
    loudness = max(float(np.sqrt(np.mean(early**2))), 1e-6)
    spectrum = np.abs(np.fft.rfft(early * np.hanning(len(early)))) ** 2
    hiss = np.fft.rfftfreq(len(early), 1 / SAMPLE_RATE) > _HISS_FROM
    return (
        float(np.sqrt(spectrum[hiss].sum() / max(spectrum.sum(), 1e-12))),
        float(np.sqrt(np.mean(middle**2))) / loudness,
        float(np.sqrt(np.mean(late**2))) / loudness,
    )
