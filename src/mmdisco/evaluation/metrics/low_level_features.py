"""Low-level statistics of any clip: loudness, brightness, sharpness and change.

They need no weights and no fixed size, and respond to low-level faults (noise, blur, missing bands,
silence, frozen or disordered frames), not to content. All are logarithms or lie around 1, so that
no feature dominates the others by its unit.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from mmdisco.media.clip import Audio, Video
from mmdisco.media.mel import MelScale
from mmdisco.media.read import resampled

Statistics = npt.NDArray[np.float32]

_OCTAVES: Final = 4
_LAGS: Final = (1, 2, 4)  # frames
_COLUMN_LAGS: Final = (1, 4, 16)  # of 12.5 ms
_BANDS: Final = 12
_LEAST: Final = 3e-3  # of the range of a pixel: below the last bit of 8
_NEPERS: Final = math.log(500) / 2  # of one unit of the spectrogram
_LEAST_CHANGE: Final = 0.05  # nepers
_SAMPLE_RATE: Final = 16_000


def video_statistics(video: Video) -> Statistics:
    """Compute colour, detail by octave, change by octave and lag, jerk, floors and layout: (27,).

    The floors are values that detail and change exceed in half of all places: noise is everywhere,
    edges and motion are not.
    """
    frames = torch.from_numpy(video.frames).movedim(3, 1)
    grey = frames.mean(1, keepdim=True)
    warmth, tint = frames[:, 0] - frames[:, 2], frames[:, 1] - (frames[:, 0] + frames[:, 2]) / 2
    found = [grey.mean(), warmth.mean(), tint.mean()]
    found += [_log(part.flatten(1).std(1, correction=0)) for part in (grey, warmth, tint)]
    found += _by_octave(grey)
    found += _by_octave(_change(grey, 1))
    found += [_log_rms(_change(grey, lag)) for lag in _LAGS]
    found.append(_log_rms(_change(_change(grey, 1), 1)))
    energy = _change(grey, 1).square().mean((1, 2, 3)).sqrt()
    found += [_log(energy.std(correction=0)), _log(energy.max())]
    bend, change = _bend(grey), _change(grey, 1)
    found += [_log(bend.abs().median()), _log(change.abs().median())]
    # about ln 3 / 2 for shuffled frames, below 0 for smooth motion
    found.append(_log_rms(_change(change, 1)) - _log_rms(change))
    found += list(interpolate(grey, (2, 2), mode="area").mean(0).flatten())
    return torch.stack([torch.as_tensor(one) for one in found]).numpy().astype(np.float32)


def audio_statistics(audio: Audio) -> Statistics:
    """Compute level, spread and change by band, change by lag, and loudness: (42,)."""
    scale = MelScale()
    heard = resampled(audio, _SAMPLE_RATE).waveform
    heard = np.pad(heard, (0, max(0, 32 * scale.hop - len(heard))))
    mel = scale.analyse(torch.from_numpy(heard)[None])[0, 0] * _NEPERS
    bands = torch.stack([part.mean(1) for part in mel.tensor_split(_BANDS, 1)], 1)
    moved = (mel[1:] - mel[:-1]).abs()
    liveliness = torch.stack([part.mean() for part in moved.tensor_split(_BANDS, 1)])
    loudness = mel.mean(1)
    found = [bands.mean(0), bands.std(0), (liveliness + _LEAST_CHANGE).log()]
    changes = [(loudness[lag:] - loudness[:-lag]).square().mean().sqrt() for lag in _COLUMN_LAGS]
    found.append((torch.stack(changes) + _LEAST_CHANGE).log())
    found.append(torch.stack([loudness.mean(), loudness.std(), loudness.max()]))
    return torch.cat(found).numpy().astype(np.float32)


def _change(frames: Tensor, lag: int) -> Tensor:
    """Compute differences ``lag`` frames apart; a single difference of 0 for too few frames."""
    if len(frames) <= lag:
        return torch.zeros_like(frames[:1])
    return frames[lag:] - frames[:-lag]


def _bend(grey: Tensor) -> Tensor:
    """Compute second differences along rows; a single one of 0 for too few columns."""
    if grey.shape[3] < 3:
        return torch.zeros_like(grey[:1])
    return grey[..., 2:] - 2 * grey[..., 1:-1] + grey[..., :-2]


def _by_octave(grey: Tensor) -> list[Tensor]:
    """Compute the log RMS of what each halving of the size removes, finest first."""
    found: list[Tensor] = []
    for _ in range(_OCTAVES):
        height, width = grey.shape[2:]
        if min(height, width) < 2:
            found.append(torch.tensor(math.log(_LEAST)))
            continue
        half = avg_pool2d(grey, 2)
        even = grey[..., : 2 * half.shape[2], : 2 * half.shape[3]]
        found.append(_log_rms(even - interpolate(half, scale_factor=2.0, mode="nearest")))
        grey = half
    return found


def _log_rms(values: Tensor) -> Tensor:
    return _log(values.square().mean().sqrt())


def _log(values: Tensor) -> Tensor:
    return (values.mean() + _LEAST).log()
