"""Waveform ↔ log-mel spectrogram, both without a trained network.

    mel[l, m] = Σ_k M[m, k] |STFT[l, k]|
    value     = 2 ln(mel / quietest) / ln(loudest / quietest) − 1

so that −1 is silence and 1 a loud tone. For the inverse, M is inverted under the constraint that
magnitudes are not negative, and the phases are found by fast Griffin-Lim (Perraudin et al. 2013).
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from mmdisco.io.shapes import AudioLatent


@dataclass(frozen=True)
class MelScale:
    """Axes and range of a log-mel spectrogram.

    Attributes:
        sample_rate: Samples per second.
        hop: Samples between two columns; a waveform of n hops has n columns.
        n_fft: Samples of one Hann window, a multiple of 2.
        bins: Triangular filters, evenly spaced in mel (2595 lg(1 + f/700)).
        lowest: Lower edge of the lowest filter, Hz.
        highest: Upper edge of the highest filter, Hz.
        quietest: Magnitude at and below which the value is −1; a sine of amplitude 1 has 1.
        loudest: Magnitude of value 1; larger ones are not clipped.
    """

    sample_rate: int = 16_000
    hop: int = 200
    n_fft: int = 512
    bins: int = 64
    lowest: float = 50.0
    highest: float = 8000.0
    quietest: float = 1e-3
    loudest: float = 0.5

    def analyse(self, waveform: Tensor) -> AudioLatent:
        """Compute spectrograms (b, 1, l, m) of waveforms (b, samples), l = samples // hop."""
        columns = waveform.shape[1] // self.hop
        mel = self._magnitude(self._stft(waveform)[..., :columns]).transpose(1, 2)
        return self._compress(mel @ self.filters.T).unsqueeze(1)

    def synthesise(self, mel: AudioLatent, iterations: int = 32, seed: int = 0) -> Tensor:
        """Return waveforms (b, l · hop) whose spectrograms approximate ``mel`` (b, 1, l, m).

        Args:
            mel: As ``analyse`` returns it; any value is allowed, below −1 counts as −1.
            iterations: Iterations of Griffin-Lim.
            seed: Seed of the initial phases, which are equal for every waveform of the batch.
        """
        linear = self._invert(self._expand(mel[:, 0]))
        # analyse drops the column centred on the very end; the last one stands in for it.
        linear = torch.cat([linear, linear[:, -1:]], 1).transpose(1, 2)
        target = linear * (self.n_fft / 4)
        generator = torch.Generator().manual_seed(seed)
        angles = 2 * math.pi * torch.rand(target.shape[1:], generator=generator)
        return self._griffin_lim(target, torch.polar(torch.ones_like(angles), angles), iterations)

    @cached_property
    def filters(self) -> Tensor:
        """M, (bins, n_fft/2 + 1): triangles of height 1."""
        edges = torch.linspace(_mel(self.lowest), _mel(self.highest), self.bins + 2)
        edges = 700 * (10 ** (edges / 2595) - 1)
        frequency = torch.linspace(0, self.sample_rate / 2, self.n_fft // 2 + 1)
        left, centre, right = (edges[k : k + self.bins, None] for k in range(3))
        rising = (frequency - left) / (centre - left)
        falling = (right - frequency) / (right - centre)
        return torch.minimum(rising, falling).clamp(min=0)

    @cached_property
    def _pseudo_inverse(self) -> Tensor:
        return torch.linalg.pinv(self.filters)

    @cached_property
    def _window(self) -> Tensor:
        return torch.hann_window(self.n_fft)

    def _stft(self, waveform: Tensor) -> Tensor:
        return torch.stft(waveform, self.n_fft, self.hop, window=self._window, return_complex=True)

    def _magnitude(self, spectrum: Tensor) -> Tensor:
        """Return the amplitude of each bin's sine: a Hann window sums to n_fft/2."""
        return spectrum.abs() / (self.n_fft / 4)

    def _compress(self, mel: Tensor) -> Tensor:
        span = math.log(self.loudest / self.quietest)
        return 2 / span * (mel.clamp(min=self.quietest) / self.quietest).log() - 1

    def _expand(self, mel: Tensor) -> Tensor:
        """Invert ``_compress``; values barely above silence count as silence."""
        span = math.log(self.loudest / self.quietest)
        return self.quietest * ((mel.clamp(min=-1) + 1) * span / 2).expm1()

    def _invert(self, mel: Tensor, iterations: int = 20) -> Tensor:
        """Return magnitudes ≥ 0 of least squared error (Lee and Seung 2001, multiplicative)."""
        linear = (mel @ self._pseudo_inverse.T).clamp(min=1e-7)
        gram, wanted = self.filters.T @ self.filters, mel @ self.filters
        for _ in range(iterations):
            linear = linear * wanted / (linear @ gram).clamp(min=1e-10)
        return linear

    def _griffin_lim(self, target: Tensor, phase: Tensor, iterations: int) -> Tensor:
        """Alternate between the target magnitudes and spectra that a waveform can have."""
        momentum, length = 0.99, (target.shape[2] - 1) * self.hop
        previous = torch.zeros_like(target)
        for _ in range(iterations):
            waveform = self._istft(target * phase, length)
            consistent = self._stft(waveform)
            ahead = consistent + momentum * (consistent - previous)
            phase, previous = ahead / ahead.abs().clamp(min=1e-9), consistent
        return self._istft(target * phase, length)

    def _istft(self, spectrum: Tensor, length: int) -> Tensor:
        return torch.istft(spectrum, self.n_fft, self.hop, window=self._window, length=length)


def _mel(frequency: float) -> float:
    return 2595 * math.log10(1 + frequency / 700)
