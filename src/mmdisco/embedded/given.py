"""A user's file as one given side: as the pair takes it, and as the clip will have it.

The pair knows one length, 1.6 s. Of a longer file the beginning is taken; a shorter one is filled,
a picture with its last frame and a sound with silence, on both sides alike, so that what is made
lies beside what it was made for.
"""

import math
from fractions import Fraction
from pathlib import Path
from typing import Final

from mmdisco.embedded.models import FPS, FRAMES, SAMPLE_RATE, SAMPLES, SIDE
from mmdisco.media.clip import Audio, Video
from mmdisco.media.fitting import fit_audio, fit_video
from mmdisco.media.reading import Selection, frame_rate, read_audio, read_video, resampled
from mmdisco.media.writing import SOUND_RATES

LENGTH: Final[Fraction] = FRAMES / FPS
MOST_PIXELS: Final = 1920 * 1080  # of a frame; with both limits a film fits into memory
MOST_FPS: Final = Fraction(60)
FALLBACK_RATE: Final = 48_000  # instead of one that no clip can be written at


def read_given_video(path: Path) -> tuple[Video, Video]:
    """The picture of a file as the pair takes it, and at the file's own rate and size.

    What is larger than full HD is shown scaled down to it, what is faster than 60 fps at 60, and
    what is slower than 10 fps at 10, or its last frame would outlast the sound.

    Raises:
        UserError: The file has no picture track or no frames, or cannot be read.
    """
    seen = read_video(path, Selection(seconds=LENGTH, fps=FPS, size=(SIDE, SIDE)))
    fps = min(max(frame_rate(path), FPS), MOST_FPS)
    shown = read_video(path, Selection(seconds=LENGTH, fps=fps, size=_shown_size(path)))
    return fit_video(seen, FRAMES), fit_video(shown, round(LENGTH * fps))


def read_given_audio(path: Path) -> tuple[Audio, Audio]:
    """The sound of a file as the pair takes it, and at the file's own rate.

    Raises:
        UserError: The file has no sound track or no samples, or cannot be read.
    """
    played = read_audio(path, Selection(seconds=LENGTH))
    heard = resampled(played, SAMPLE_RATE)
    if played.sample_rate not in SOUND_RATES:
        played = resampled(played, FALLBACK_RATE)
    return fit_audio(heard, SAMPLES), fit_audio(played, round(LENGTH * played.sample_rate))


def _shown_size(path: Path) -> tuple[int, int] | None:
    # the first frame, for only a decoded one knows its rotation
    first = read_video(path, Selection(seconds=Fraction(1), fps=Fraction(1)))
    height, width = first.frames.shape[1:3]
    if height * width <= MOST_PIXELS:
        return None
    factor = math.sqrt(MOST_PIXELS / (height * width))
    return max(1, round(height * factor)), max(1, round(width * factor))
