"""A user's file as one given side of the embedded pair, which knows one length: 1.6 s."""

from pathlib import Path
from typing import Final

from mmdisco.embedded.models import FPS, FRAMES, SAMPLE_RATE, SIDE
from mmdisco.media import given
from mmdisco.media.clip import Audio, Video
from mmdisco.media.given import Form

FORM: Final = Form(FRAMES / FPS, FPS, (SIDE, SIDE), SAMPLE_RATE)
MOST_PIXELS: Final = given.MOST_PIXELS


def read_given_video(path: Path) -> tuple[Video, Video]:
    """The picture of a file as the pair takes it, and as ``given_video`` shows it.

    Raises:
        UserError: The file has no picture track or no frames, or cannot be read.
    """
    return given.given_video(path, FORM, MOST_PIXELS)


def read_given_audio(path: Path) -> tuple[Audio, Audio]:
    """The sound of a file as the pair takes it, and at the file's own rate.

    Raises:
        UserError: The file has no sound track or no samples, or cannot be read.
    """
    return given.given_audio(path, FORM)
