"""Onsets of a sound and motion of a picture as AV-Align takes them, by librosa and OpenCV.

Both are in the extra ``metrics``: ``pip install 'mmdisco[metrics]'``.
"""

from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from mmdisco.errors import UserError
from mmdisco.media.clip import Audio, Video
from mmdisco.media.reading import resampled
from mmdisco.metrics.events import Times

RATE: Final = 22_050  # samples a second, librosa's own
_MISSING: Final = "AV-Align needs librosa and OpenCV: pip install 'mmdisco[metrics]'"

Trace = npt.NDArray[np.float64]  # (frames,)


def audio_onsets(audio: Audio) -> Times:
    """``librosa.onset.onset_detect`` on ``onset_strength``, with its defaults, in seconds.

    Raises:
        UserError: librosa is not installed.
    """
    try:
        from librosa.onset import onset_detect, onset_strength
    except ImportError as error:
        raise UserError(_MISSING) from error
    heard = resampled(audio, RATE).waveform
    strength = onset_strength(y=heard, sr=RATE)
    found = onset_detect(onset_envelope=strength, sr=RATE, units="time")
    return np.asarray(found, np.float64)


def motion(video: Video) -> Trace:
    """Mean magnitude of Farnebäck's flow from the frame before, pixels; the first value twice.

    Raises:
        UserError: OpenCV is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise UserError(_MISSING) from error
    bytes_ = np.round(video.frames * 255).clip(0, 255).astype(np.uint8)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in bytes_]
    found: list[float] = []
    for before, after in pairwise(grey):
        start = np.zeros((*before.shape, 2), np.float32)
        flow = cv2.calcOpticalFlowFarneback(before, after, start, 0.5, 3, 15, 3, 5, 1.2, 0)
        found.append(float(np.linalg.norm(flow, axis=2).mean()))
    return np.array([*found[:1], *found], np.float64) if found else np.zeros(1)
