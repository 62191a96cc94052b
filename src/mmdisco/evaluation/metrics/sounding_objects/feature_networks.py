"""Two small feature networks for sets of sounding-objects clips, one per modality.

They replace Inception and VGGish in a Fréchet distance. Trained to classify what happens and when
(see ``recipes/embedded/train_features.py``), they must not average over time: the features are a
linear map of the whole sequence, so a clip with shifted events has other features.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle

from mmdisco.evaluation.metrics.distances import Features
from mmdisco.io.shapes import AudioLatent, Clips, Vector
from mmdisco.media.clip import Audio, Video
from mmdisco.media.mel import MelScale
from mmdisco.media.sounding_objects.scene import FRAMES, SAMPLE_RATE, SAMPLES, SIDE

FEATURES: Final = 64
VIDEO_STEPS: Final = FRAMES  # of 100 ms
AUDIO_STEPS: Final = 32  # of 50 ms
AT_ONCE: Final = 64

_STEP_WIDTH: Final = 32
_SQUARE: Final = 4  # pixels along either axis that become channels before the first convolution
_COLUMNS: Final = 4  # of the spectrogram in one step
_BINS: Final = 64
_GROUPS: Final = 8


class VideoFeatures(nn.Module):
    """Frames (b, 16, 64, 64, 3) in [0, 1] to features (b, 64)."""

    def __init__(self) -> None:
        super().__init__()
        side = SIDE // _SQUARE // 4
        self.step = nn.Sequential(
            nn.Conv2d(3 * _SQUARE**2, 32, 3, stride=2, padding=1),
            *_activation(32),
            nn.Conv2d(32, 32, 3, padding=1),
            *_activation(32),
            nn.Conv2d(32, 48, 3, stride=2, padding=1),
            *_activation(48),
            # not pooled over space: the position of the striker determines when it strikes
            nn.Flatten(),
            nn.Linear(48 * side**2, _STEP_WIDTH),
        )
        self.pool = _pool(VIDEO_STEPS)

    def forward(self, frames: Clips) -> Vector:
        """Compute the features of each clip."""
        squares = pixel_unshuffle(frames.flatten(0, 1).movedim(3, 1), _SQUARE)
        # Colours are learnt far sooner around 0. In place: the frames are the largest tensor.
        squares = squares.mul_(2).sub_(1)
        steps = self.step(squares).unflatten(0, frames.shape[:2])
        return self.pool(steps.transpose(1, 2))


class AudioFeatures(nn.Module):
    """Log-mel spectrograms (b, 1, 128, 64) of ``MelScale().analyse`` to features (b, 64)."""

    def __init__(self) -> None:
        super().__init__()
        self.step = nn.Sequential(
            # bins are channels: a spectrum is read whole, since its harmonics lie far apart
            nn.Conv1d(_COLUMNS * _BINS, 64, 3, padding=1),
            *_activation(64),
            nn.Conv1d(64, _STEP_WIDTH, 1),
        )
        self.pool = _pool(AUDIO_STEPS)

    def forward(self, mel: AudioLatent) -> Vector:
        """Compute the features of each clip."""
        spectra = mel[:, 0].unflatten(1, (AUDIO_STEPS, _COLUMNS)).flatten(2).transpose(1, 2)
        return self.pool(self.step(spectra))


def video_features(network: VideoFeatures, clips: Sequence[Video]) -> Features:
    """Compute features (clips, 64) of clips of the data's size; sets eval mode."""
    for clip in clips:
        if clip.frames.shape != (FRAMES, SIDE, SIDE, 3):
            raise ValueError(
                f"frames must be ({FRAMES}, {SIDE}, {SIDE}, 3), not {clip.frames.shape}"
            )
    network.eval()
    return _in_batches(network, [clip.frames for clip in clips])


def audio_features(network: AudioFeatures, clips: Sequence[Audio]) -> Features:
    """Compute features (sounds, 64) of the data's rate and length; sets eval mode."""
    for clip in clips:
        if (clip.sample_rate, len(clip.waveform)) != (SAMPLE_RATE, SAMPLES):
            raise ValueError(
                f"a sound must be {SAMPLES} samples at {SAMPLE_RATE} Hz, not "
                f"{len(clip.waveform)} at {clip.sample_rate}"
            )
    network.eval()
    scale = MelScale()
    return _in_batches(lambda x: network(scale.analyse(x)), [clip.waveform for clip in clips])


def _in_batches(
    read: Callable[[Tensor], Tensor], inputs: Sequence[npt.NDArray[np.float32]]
) -> Features:
    parts = [np.empty((0, FEATURES), np.float32)]
    with torch.no_grad():
        for start in range(0, len(inputs), AT_ONCE):
            batch = torch.from_numpy(np.stack(inputs[start : start + AT_ONCE]))
            parts.append(read(batch).numpy())
    return np.concatenate(parts)


def _activation(channels: int) -> tuple[nn.GroupNorm, nn.SiLU]:
    """Normalise by groups, which unlike batches keep a clip's features independent of others."""
    return nn.GroupNorm(_GROUPS, channels), nn.SiLU()


def _pool(steps: int) -> nn.Sequential:
    """Map vectors of every step (b, 32, steps) to features, after a convolution over steps."""
    return nn.Sequential(
        *_activation(_STEP_WIDTH),
        nn.Conv1d(_STEP_WIDTH, _STEP_WIDTH, 5, padding=2),
        *_activation(_STEP_WIDTH),
        nn.Flatten(),
        nn.Linear(_STEP_WIDTH * steps, FEATURES),
    )
