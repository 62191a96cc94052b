"""Pictures of sounds as Auffusion was trained on: log-mel, flipped, in three equal channels.

Xue et al. 2024, arXiv:2401.01044. Sound of 16 kHz with its peak at 0.95, Hann windows of 1024
samples in transforms of 2048, a column every 160 samples, 256 filters from 0 to 8000 Hz on Slaney's
mel scale, each of area 1; ln of the magnitude from ln 1e-5 to ln 200 becomes −1 to 1. High
frequencies are at the top, and a sound is followed by black up to 10.24 s. Knows no network.
"""

import math
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from mmdisco.adapters.audioldm_mel import slaney_filters

HOP: Final = 160
BINS: Final = 256
FRAMES: Final = 1024

_N_FFT: Final = 2048
_WINDOW: Final = 1024
_MARGIN: Final = (_N_FFT - HOP) // 2
_PEAK: Final = 0.95
_QUIETEST: Final = math.log(1e-5)
_LOUDEST: Final = math.log(200.0)


def level(waveform: Tensor) -> Tensor:
    """Scale waveforms (b, samples) to a peak of 0.95 each; silence stays silence."""
    peak = waveform.abs().amax(dim=1, keepdim=True)
    return _PEAK * torch.where(peak > torch.finfo(peak.dtype).tiny, waveform / peak, waveform)


def log_mel(waveform: Tensor) -> Tensor:
    """Compute ln of mel magnitudes, (b, 256, samples // 160), of waveforms (b, samples).

    Args:
        waveform: More than 944 samples, of which that many are mirrored at either end.
    """
    padded = functional.pad(waveform, (_MARGIN, _MARGIN), mode="reflect")
    window = torch.hann_window(_WINDOW, device=waveform.device)
    spectrum = torch.stft(
        padded, _N_FFT, HOP, _WINDOW, window=window, center=False, return_complex=True
    )
    magnitude = (torch.view_as_real(spectrum).square().sum(-1) + 1e-9).sqrt()
    return (slaney_filters(_N_FFT, BINS).to(waveform.device) @ magnitude).clamp(min=1e-5).log()


def to_picture(log_magnitudes: Tensor) -> Tensor:
    """Draw ``log_mel``'s (b, 256, at most 1024) as pictures (b, 3, 256, 1024) in [−1, 1]."""
    bounded = log_magnitudes.clamp(_QUIETEST, _LOUDEST)
    unit = ((bounded - _QUIETEST) / (_LOUDEST - _QUIETEST)).flip(1)
    filled = functional.pad(unit, (0, FRAMES - unit.shape[2]))
    return (2 * filled - 1)[:, None].repeat(1, 3, 1, 1)


def from_picture(picture: Tensor) -> Tensor:
    """Invert ``to_picture``: ln of mel magnitudes, (b, 256, frames), of the first channel."""
    unit = (picture[:, 0] / 2 + 0.5).clamp(0, 1).flip(1)
    return unit * (_LOUDEST - _QUIETEST) + _QUIETEST
