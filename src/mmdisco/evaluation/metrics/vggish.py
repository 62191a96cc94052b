"""Log-mel patches, the input of VGGish (Hershey et al. 2017, TensorFlow's ``vggish_input``).

16 kHz; windows of 25 ms every 10 ms, periodic Hann, 512-point transform, magnitudes; 64 triangles
from 125 to 7500 Hz in HTK's mel; natural logarithm after adding 0.01; consecutive patches of 96
windows, of which an incomplete last one is dropped. The arithmetic is checked against torchvggish
0.2 in ``tests/golden``.
"""

from typing import Final

import numpy as np
import torch
from torch import Tensor
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from mmdisco.media.clip import Audio
from mmdisco.media.read import resampled

RATE: Final = 16_000
PATCH: Final = 96  # windows
LEAST_SECONDS: Final = 0.975

_WINDOW: Final = 400
_HOP: Final = 160
_TRANSFORM: Final = 512
_BANDS: Final = 64
_OFFSET: Final = 0.01


def vggish_patches(audio: Audio) -> Tensor:
    """Compute patches (patches, 1, 96, 64).

    Raises:
        ValueError: The sound is shorter than 0.975 s.
    """
    heard = resampled(audio, RATE).waveform
    if len(heard) < LEAST_SECONDS * RATE:
        raise ValueError(f"a sound must last {LEAST_SECONDS} s, not {len(heard) / RATE} s")
    mel = spectrogram(
        heard.astype(np.float64),
        window_function(_WINDOW, "hann", periodic=True),
        frame_length=_WINDOW,
        hop_length=_HOP,
        fft_length=_TRANSFORM,
        power=1.0,
        center=False,
        mel_filters=mel_filter_bank(
            num_frequency_bins=_TRANSFORM // 2 + 1,
            num_mel_filters=_BANDS,
            min_frequency=125.0,
            max_frequency=7500.0,
            sampling_rate=RATE,
            norm=None,
            mel_scale="kaldi",  # HTK's with a factor on both sides
            triangularize_in_mel_space=True,
        ),
        mel_floor=0.0,
    )
    whole = mel.shape[1] // PATCH * PATCH
    patches = np.log(mel[:, :whole] + _OFFSET).T.reshape(-1, 1, PATCH, _BANDS)
    return torch.from_numpy(patches.astype(np.float32))
