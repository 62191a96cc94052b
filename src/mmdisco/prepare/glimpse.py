"""A clip at a glance, small enough to be kept by the thousand: a strip of frames and an outline."""

import base64
import io
from typing import Any, Final

import numpy as np
from PIL import Image

from mmdisco.media.clip import AudioVideo

_FRAMES: Final = 4
_HEIGHT: Final = 54  # pixels
_COLUMNS: Final = 96  # of the outline
_QUALITY: Final = 70  # of JPEG


def glimpse(clip: AudioVideo) -> dict[str, Any]:
    """Frames side by side and the loudest sample of every column.

    Returns:
        ``jpeg``: base64; ``outline``: whole numbers from 0 to 100, the root of the amplitude, so
        that quiet sounds are seen.
    """
    frames = clip.video.frames
    chosen = frames[np.linspace(0, len(frames) - 1, _FRAMES).round().astype(int)]
    strip = np.concatenate(list(np.clip(chosen, 0, 1)), axis=1)
    image = Image.fromarray(np.round(strip * 255).astype(np.uint8))
    width = max(1, round(image.width * _HEIGHT / image.height))
    file = io.BytesIO()
    image.resize((width, _HEIGHT), Image.Resampling.BOX).save(file, "JPEG", quality=_QUALITY)
    columns = np.array_split(np.abs(clip.audio.waveform), _COLUMNS)
    outline = [round(100 * float(column.max()) ** 0.5) if len(column) else 0 for column in columns]
    return {"jpeg": base64.b64encode(file.getvalue()).decode(), "outline": outline}
