"""Reconstructions of a preparation: some clips decoded again from their latents, and measured.

One clip is drawn from each of as many equal stretches of the plan as clips are asked for. A place
is fixed by the plan alone, so a resumed run measures the same clips.
"""

import base64
import random
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any, Final

import numpy as np
from PIL import Image

from mmdisco.io.files import scratch
from mmdisco.media.clip import AudioVideo, Frames, Video, cut_audio, cut_video
from mmdisco.media.reconstruction import PictureReconstruction, SoundReconstruction
from mmdisco.media.write import write_clip

SHOWN: Final = 8  # clips that the report plays beside their reconstructions
_SECONDS: Final = 4.0  # most of a clip that it plays
_SIDE: Final = 256  # pixels of the longer side there, at most


def reconstructed_places(lengths: Sequence[int], count: int) -> list[dict[int, bool]]:
    """Choose the clips to decode again, spread evenly over the plan.

    Args:
        lengths: Planned clips of each shard.
        count: Number of clips to choose, at most.

    Returns:
        For each shard, the position of each chosen clip in it, and whether the report plays it.
    """
    total = sum(lengths)
    count = min(count, total)
    chance = random.Random(0)
    bounds = [k * total // count for k in range(count + 1)] if count else []
    chosen = [chance.randrange(*pair) for pair in pairwise(bounds)]
    played = {chosen[k * count // min(SHOWN, count)] for k in range(min(SHOWN, count))}
    found: list[dict[int, bool]] = []
    first = 0
    for length in lengths:
        own = [place for place in chosen if first <= place < first + length]
        found.append({place - first: place in played for place in own})
        first += length
    return found


def measured(original: AudioVideo, decoded: AudioVideo, *, played: bool) -> dict[str, Any]:
    """Compare a clip with its reconstruction.

    Returns:
        For JSON: ``psnr``, ``variance``, ``mel_distance`` and ``onset_f1`` as the attributes of
            ``PictureReconstruction`` and ``SoundReconstruction``; with ``played`` also
            ``original`` and ``decoded``, small mp4 files in base64.
    """
    picture = asdict(PictureReconstruction.of(original.video, decoded.video))
    sound = asdict(SoundReconstruction.of(original.audio, decoded.audio))
    values = {key: None if one is None else round(one, 4) for key, one in (picture | sound).items()}
    movies = {"original": _movie(original), "decoded": _movie(decoded)} if played else {}
    return values | movies


def _movie(clip: AudioVideo) -> str:
    """Encode the beginning of a clip, small, as mp4 in base64."""
    seconds = min(_SECONDS, float(clip.video.seconds))
    video, audio = cut_video(clip.video, seconds), cut_audio(clip.audio, seconds)
    frames = _small(video.frames)
    with scratch() as folder:
        path = folder / "clip.mp4"
        magnify = max(1, _SIDE // max(frames.shape[1:3]))
        write_clip(path, AudioVideo(audio, Video(frames, video.fps)), magnify=magnify)
        return base64.b64encode(path.read_bytes()).decode()


def _small(frames: Frames) -> Frames:
    height, width = frames.shape[1:3]
    factor = _SIDE / max(height, width)
    if factor >= 1:
        return frames
    size = max(1, round(width * factor)), max(1, round(height * factor))
    pixels = np.round(np.clip(frames, 0, 1) * 255).astype(np.uint8)
    small = [Image.fromarray(one).resize(size, Image.Resampling.BOX) for one in pixels]
    return np.stack([np.asarray(one, np.float32) for one in small]) / np.float32(255)
