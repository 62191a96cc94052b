"""Sound of a scene: one strike of the object's timbre and pitch at every contact.

Colour determines the spectrum (the partials and their decay), size the fundamental, kind the
envelope and the noise of the strike, speed the loudness. A new strike damps the one before.
Independent of pixels.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mmdisco.media.clip import Audio, Waveform
from mmdisco.media.sounding_objects.scene import SAMPLE_RATE, SAMPLES, Colour, ObjectKind, Scene

FUNDAMENTAL: Final = 430.0  # Hz of an object of MIDDLE_RADIUS pixels
MIDDLE_RADIUS: Final = 8.5
PITCH_EXPONENT: Final = 1.35
_LOUDEST: Final = 0.35
_HISS: Final = 1.5e-4  # standard deviation of the recording's noise
_LONGEST: Final = 1.0  # seconds after which no strike is heard


@dataclass(frozen=True, slots=True)
class Timbre:
    """Spectrum of a material.

    Attributes:
        partials: Frequencies relative to the fundamental.
        amplitudes: Amplitudes of the partials, with unit sum of squares.
        ring: Factor of the decay time.
    """

    partials: tuple[float, ...]
    amplitudes: tuple[float, ...]
    ring: float


def _timbre(partials: tuple[float, ...], amplitudes: tuple[float, ...], ring: float) -> Timbre:
    norm = sum(a * a for a in amplitudes) ** 0.5
    return Timbre(partials, tuple(a / norm for a in amplitudes), ring)


TIMBRES: Final = {
    # Rubber: a dull tone and nothing above it.
    Colour.RED: _timbre((1.0,), (1.0,), 0.75),
    # Brass: a dense row of harmonics.
    Colour.YELLOW: _timbre(
        tuple(float(k) for k in range(1, 9)), (1.0, 0.9, 0.8, 0.7, 0.65, 0.6, 0.5, 0.45), 1.15
    ),
    # Wood: the first two modes of a free bar.
    Colour.GREEN: _timbre((1.0, 2.756), (1.0, 0.9), 0.8),
    # Glass: a far and strong overtone.
    Colour.BLUE: _timbre((1.0, 6.4), (1.0, 1.1), 1.15),
}


@dataclass(frozen=True, slots=True)
class Envelope:
    """Envelope of a kind's sound.

    Attributes:
        decay: Seconds in which a ringing tone falls to 1/e; of a beep, seconds until it stops.
        noise: Loudness of the strike's noise relative to the tone.
        noise_decay: Seconds in which the noise falls to 1/e.
        beep: Whether the tone is held and then stops.
    """

    decay: float
    noise: float
    noise_decay: float
    beep: bool


ENVELOPES: Final = {
    ObjectKind.BALL: Envelope(0.09, 0.35, 0.006, beep=False),
    ObjectKind.DRUM: Envelope(0.12, 0.7, 0.055, beep=False),
    ObjectKind.LAMP: Envelope(0.15, 0.0, 1.0, beep=True),
    ObjectKind.BELL: Envelope(0.26, 0.5, 0.007, beep=False),
}


def fundamental(radius: float) -> float:
    """Return f₀ in Hz of an object of ``radius`` pixels: the bigger, the lower."""
    return FUNDAMENTAL * (MIDDLE_RADIUS / radius) ** PITCH_EXPONENT


def sound(scene: Scene, rng: np.random.Generator) -> Audio:
    """Synthesise the sound of ``scene``; ``rng`` draws phases and noise."""
    waveform = rng.normal(0, _HISS, SAMPLES).astype(np.float32)
    strike = _strike(scene, rng)
    onsets = [round(event.time * SAMPLE_RATE) for event in scene.events]
    for event, start, end in zip(scene.events, onsets, [*onsets[1:], SAMPLES], strict=True):
        part = strike[: end - start].copy()
        # 4 ms: the next strike takes over without a click of its own.
        fade = np.linspace(1, 0, min(64, len(part)), dtype=np.float32)
        part[-len(fade) :] *= fade
        waveform[start : start + len(part)] += _LOUDEST * event.speed * part
    return Audio(np.clip(waveform, -1, 1), SAMPLE_RATE)


def _strike(scene: Scene, rng: np.random.Generator) -> Waveform:
    """Synthesise one strike at full speed, root mean square about ½ at its loudest."""
    envelope, timbre = ENVELOPES[scene.kind], TIMBRES[scene.colour]
    t = np.arange(int(_LONGEST * SAMPLE_RATE), dtype=np.float32) / SAMPLE_RATE
    frequencies = fundamental(scene.radius) * np.array(timbre.partials, np.float32)
    phases = rng.uniform(0, 2 * np.pi, (len(frequencies), 1)).astype(np.float32)
    waves = np.sin(2 * np.float32(np.pi) * frequencies[:, None] * t + phases)
    tone = np.array(timbre.amplitudes, np.float32) @ waves * 0.7
    noise = rng.normal(0, 0.5, len(t)).astype(np.float32) * np.exp(-t / envelope.noise_decay)
    attack = np.clip(t / 0.002, 0, 1)
    shape = _held(t, envelope.decay) if envelope.beep else np.exp(-t / envelope.decay / timbre.ring)
    return (attack * (tone * shape + envelope.noise * noise)).astype(np.float32)


def _held(t: npt.NDArray[np.floating[Any]], until: float) -> npt.NDArray[np.floating[Any]]:
    """Return 1 until shortly before ``until``, then fall to 0 within 15 ms."""
    return np.clip((until - t) / 0.015, 0, 1)
