"""Log-mel spectrogram that AudioLDM and AudioLDM2 were trained on. Knows no network.

Not the spectrogram of ``mmdisco.media.mel``: a checkpoint's constants are fixed by its training.
Sound of 16 kHz, Hann windows of 1024 samples, 64 filters from 0 to 8000 Hz on Slaney's mel scale,
each of area 1; magnitudes, natural logarithm, nothing below ln 1e-5. Before that the mean is taken
off and the loudest sample scaled to 0.5. Source: Liu et al. 2023 (AudioLDM) and their published
training code.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional
from transformers.audio_utils import mel_filter_bank

from mmdisco.io.shapes import AudioLatent

SAMPLE_RATE: Final = 16_000
N_FFT: Final = 1024
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

    @property
    def filters(self) -> Tensor:
        """Mel filters, (bins, 513)."""
        return slaney_filters(N_FFT, self.bins)


@cache
def slaney_filters(n_fft: int, bins: int) -> Tensor:
    """Return (bins, n_fft/2 + 1) triangles from 0 to 8000 Hz on Slaney's mel scale, of area 1."""
    bank = mel_filter_bank(
        num_frequency_bins=n_fft // 2 + 1,
        num_mel_filters=bins,
        min_frequency=0.0,
        max_frequency=SAMPLE_RATE / 2,
        sampling_rate=SAMPLE_RATE,
        norm="slaney",
        mel_scale="slaney",
    )
    return torch.from_numpy(bank.T).float().contiguous()
