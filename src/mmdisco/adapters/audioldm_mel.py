"""The log-mel spectrogram that AudioLDM and AudioLDM2 were trained on. Knows no network.

Not the spectrogram of ``mmdisco.media.mel``: a checkpoint's constants are fixed by its training.
Sound of 16 kHz, Hann windows of 1024 samples, 64 filters from 0 to 8000 Hz on Slaney's mel scale,
each of area 1; magnitudes, natural logarithm, nothing below ln 1e-5. Before that the mean is taken
off and the loudest sample scaled to 0.5. Source: Liu et al. 2023 (AudioLDM) and their published
training code.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from mmdisco.shapes import AudioLatent

SAMPLE_RATE: Final = 16_000
N_FFT: Final = 1024
HIGHEST: Final = 8000.0
QUIETEST: Final = 1e-5
PEAK: Final = 0.5


@dataclass(frozen=True)
class MelFrontEnd:
    """Front end from waveforms of 16 kHz to the input of an AudioLDM autoencoder.

    Attributes:
        hop: Samples between two columns.
        bins: Number of mel filters.
    """

    hop: int = 160
    bins: int = 64

    @property
    def margin(self) -> int:
        """Samples mirrored at either end; a waveform must be longer."""
        return (N_FFT - self.hop) // 2

    def level(self, waveform: Tensor) -> Tensor:
        """Remove the mean of waveforms (b, samples), and scale each to a peak of 0.5."""
        centred = waveform - waveform.mean(dim=1, keepdim=True)
        # as in training: silence stays silent
        return PEAK * centred / (centred.abs().amax(dim=1, keepdim=True) + 1e-8)

    def log_mel(self, waveform: Tensor) -> AudioLatent:
        """Compute spectrograms (b, 1, l, m) of waveforms (b, samples), without normalising.

        l = samples // hop where samples is a multiple of the hop, m = bins, in ln of magnitude.
        """
        padded = functional.pad(waveform, (self.margin, self.margin), mode="reflect")
        window = torch.hann_window(N_FFT, device=waveform.device)
        spectrum = torch.stft(
            padded, N_FFT, self.hop, window=window, center=False, return_complex=True
        )
        mel = spectrum.abs().transpose(1, 2) @ self.filters.T.to(waveform.device)
        return mel.clamp(min=QUIETEST).log().unsqueeze(1)

    @cached_property
    def filters(self) -> Tensor:
        """Compute (bins, 513) triangular filters on the mel scale, each of area 1 over Hz."""
        top = _mel(HIGHEST)
        edges = _hertz(torch.linspace(0, top, self.bins + 2, dtype=torch.float64))
        frequency = torch.linspace(0, SAMPLE_RATE / 2, N_FFT // 2 + 1, dtype=torch.float64)
        left, centre, right = (edges[k : k + self.bins, None] for k in range(3))
        rising = (frequency - left) / (centre - left)
        falling = (right - frequency) / (right - centre)
        triangles = torch.minimum(rising, falling).clamp(min=0)
        return (2 / (right - left) * triangles).float()


# Slaney's Auditory Toolbox: linear up to 1000 Hz, then 27 steps for every factor 6.4
_LINEAR_STEP = 200 / 3
_KNEE_HERTZ = 1000.0
_KNEE = _KNEE_HERTZ / _LINEAR_STEP
_LOG_STEP = math.log(6.4) / 27


def _mel(hertz: float) -> float:
    if hertz < _KNEE_HERTZ:
        return hertz / _LINEAR_STEP
    return _KNEE + math.log(hertz / _KNEE_HERTZ) / _LOG_STEP


def _hertz(mel: Tensor) -> Tensor:
    above = _KNEE_HERTZ * ((mel - _KNEE) * _LOG_STEP).exp()
    return torch.where(mel < _KNEE, mel * _LINEAR_STEP, above)
