"""A user's file as the given side: as models take it, and as the output clip contains it.

Models make clips of one length. Of a longer file an excerpt is taken; a shorter one is padded,
video with its last frame and audio with silence, in the model's input and in the output alike,
so that the generated side stays synchronous with the given one.
"""

import math
from fractions import Fraction
from pathlib import Path
from typing import Final

import av

from mmdisco.media.clip import Audio, ClipSpec, Video, fit_audio, fit_video
from mmdisco.media.clock import clock_of
from mmdisco.media.copying import FALLBACK_RATE, SOUND_RATES
from mmdisco.media.opening import MOST_BYTES, opened
from mmdisco.media.read import ReadSpec, frame_rate, read_audio, read_video, resampled

BEGINNING: Final = Fraction(0)
MOST_PIXELS: Final = 1920 * 1080  # of a frame; with both limits an excerpt fits into memory
MOST_FPS: Final = Fraction(60)


def share(path: Path, start: Fraction, seconds: Fraction) -> str:
    """Describe in words which part of a file is used for ``seconds`` from ``start`` on.

    Raises:
        UserError: The file cannot be read.
    """
    with opened(path) as container:
        stated, joined = container.duration, clock_of(container).joined
    if stated is None or joined:
        return f"{path}: {float(start):g} to {float(start + seconds):.4g} s are used"
    lasts = Fraction(stated, av.time_base)
    end = min(lasts, start + seconds)
    return f"{path}: {float(start):g} to {float(end):.4g} s of {float(lasts):.4g} s are used"


def read_conditioning_video(
    path: Path, form: ClipSpec, most_pixels: int = MOST_PIXELS, start: Fraction = BEGINNING
) -> tuple[Video, Video]:
    """Return the video of a file from ``start`` on as models take it, and as the clip shows it.

    The second keeps the file's own rate and size within limits: it is scaled down to
    ``most_pixels``, reduced to 60 fps, and raised to the model's frame rate, since the last frame
    would otherwise outlast the sound.

    Raises:
        UserError: The file has no video track or no frames, or cannot be read.
    """
    selection = ReadSpec(start, form.seconds, fps=form.fps, size=form.size)
    seen = read_video(path, selection)
    fps = min(max(frame_rate(path), form.fps), max(MOST_FPS, form.fps))
    room = MOST_BYTES // (12 * max(1, round(form.seconds * fps)))
    size = _shown_size(path, min(most_pixels, room))
    shown = read_video(path, ReadSpec(start, form.seconds, fps=fps, size=size))
    return fit_video(seen, form.frames), fit_video(shown, round(form.seconds * fps))


def read_conditioning_audio(
    path: Path, form: ClipSpec, start: Fraction = BEGINNING, audio_track: int | None = None
) -> tuple[Audio, Audio]:
    """Return the audio of a file from ``start`` on as models take it, and at the file's own rate.

    Args:
        path: The file.
        form: Format of the clips.
        start: Seconds after time 0.
        audio_track: Number of the audio track, from 1; None is the one that a player plays.

    Raises:
        UserError: The file has no audio track or no samples, or cannot be read.
    """
    selection = ReadSpec(start, form.seconds, audio_track=audio_track)
    played = read_audio(path, selection)
    heard = resampled(played, form.sample_rate)
    if played.sample_rate not in SOUND_RATES:
        played = resampled(played, FALLBACK_RATE)
    return (
        fit_audio(heard, round(form.seconds * form.sample_rate)),
        fit_audio(played, round(form.seconds * played.sample_rate)),
    )


def _shown_size(path: Path, most_pixels: int) -> tuple[int, int] | None:
    # the first frame, since only a decoded one has its rotation
    first = read_video(path, ReadSpec(seconds=Fraction(1), fps=Fraction(1)))
    height, width = first.frames.shape[1:3]
    if height * width <= most_pixels:
        return None
    factor = math.sqrt(most_pixels / (height * width))
    return max(1, round(height * factor)), max(1, round(width * factor))
