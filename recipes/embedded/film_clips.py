"""Division of a film with sound into clips, and into training and held-out blocks.

Time is counted in tenths of a second, the step of the sync scorer.
"""

from typing import Final

import numpy as np

from mmdisco.evaluation.metrics.sync.network import RATE
from mmdisco.media.clip import Audio, AudioVideo, Video

STEPS: Final = 16  # per clip
BLOCK: Final = 400  # steps; of three blocks the middle one is held out
GUARD: Final = 20  # steps at either end of a block that are not used


def training_blocks(steps: int, third: int = 1) -> list[range]:
    """List the blocks of a film with this many steps that the sync scorer is trained on.

    The packaged scorer is not trained on ``third`` 1.
    """
    return [block for k, block in enumerate(_blocks(steps)) if k % 3 != third]


def held_out_blocks(steps: int, third: int = 1) -> list[range]:
    """List the other blocks."""
    return _blocks(steps)[third::3]


def clips_of(film: AudioVideo, blocks: list[range], every: int = STEPS) -> list[AudioVideo]:
    """Cut all clips of 1.6 s within ``blocks``, one every ``every`` steps."""
    starts = [start for block in blocks for start in block[: -STEPS + 1 or None : every]]
    return [cut(film, start) for start in starts]


def cut(film: AudioVideo, step: int) -> AudioVideo:
    """Cut the clip of 1.6 s from ``step`` on."""
    rate, fps = film.audio.sample_rate, film.video.fps
    samples = slice(step * rate // RATE, (step + STEPS) * rate // RATE)
    frames = slice(int(step * fps / RATE), int((step + STEPS) * fps / RATE))
    return AudioVideo(
        Audio(film.audio.waveform[samples], rate), Video(film.video.frames[frames], fps)
    )


def median_loudness(film: AudioVideo) -> float:
    """Compute the median over consecutive clips of the film."""
    steps = int(film.video.seconds * RATE)
    return float(np.median([loudness(clip) for clip in clips_of(film, [range(steps)])]))


def loudness(clip: AudioVideo) -> float:
    """Compute the root mean square of the waveform."""
    return float(np.sqrt(np.mean(clip.audio.waveform.astype(np.float64) ** 2)))


def _blocks(steps: int) -> list[range]:
    whole = [range(start, min(start + BLOCK, steps)) for start in range(0, steps, BLOCK)]
    inner = [range(block.start + GUARD, block.stop - GUARD) for block in whole]
    return [block for block in inner if len(block) >= STEPS]
