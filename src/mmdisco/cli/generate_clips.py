"""What ``mmdisco generate`` does with its arguments."""

import sys
import time
import warnings
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from textwrap import shorten
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mmdisco.cli.generate_order import Order, Outputs, Plan, plan
from mmdisco.files import write_json
from mmdisco.media.clip import AudioVideo, Video
from mmdisco.media.pictures import draw_clips
from mmdisco.media.writing import write_audio, write_clip
from mmdisco.record import describe
from mmdisco.request import Prepared, prepare

SHOWN_SIDE: Final = 256  # pixels; smaller pictures are magnified up to it
DRAWN_SIDE: Final = 64
LONGEST_TITLE: Final = 100


def carry_out(order: Order) -> Iterator[Path]:
    """Make the clips and all that goes with them.

    Yields:
        The path of every file, once it is there.
    """
    begin = time.monotonic()
    checked = plan(order)
    prepared = prepare(checked.request, checked.folder)
    for line in (*checked.warnings, *prepared.warnings):
        sys.stderr.write(f"mmdisco: {line}\n")
    clips = _sampled(prepared)
    seconds = time.monotonic() - begin
    for sample, outputs in checked.outputs.items():
        _write(clips[sample], outputs, _title(checked))
        write_json(outputs.record, describe(prepared, checked.surroundings, sample, seconds))
        yield from outputs.all


def _sampled(prepared: Prepared) -> list[AudioVideo]:
    console = Console(stderr=True)
    columns = (TextColumn("sampling"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        steps = progress.track(prepared.run(), total=prepared.sampling.steps)
        return prepared.clips(deque(steps, maxlen=1).pop())


def _write(clip: AudioVideo, outputs: Outputs, title: str) -> None:
    write_clip(outputs.clip, clip, magnify=max(1, SHOWN_SIDE // max(clip.video.frames.shape[1:3])))
    if outputs.wav:
        write_audio(outputs.sound, clip.audio)
    with warnings.catch_warnings():
        # a letter of the prompt that the font lacks is drawn as a box, and that is all
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        draw_clips(outputs.picture, {title: AudioVideo(clip.audio, _small(clip.video))})


def _title(checked: Plan) -> str:
    request = checked.request
    said = request.prompt.strip() or (request.given.name if request.given else "")
    # matplotlib would take what lies between two dollars for a formula
    return shorten(said, LONGEST_TITLE).replace("$", r"\$")


def _small(video: Video) -> Video:
    """The middle square of every frame, thinned out: a drawing has 60 pixels for it."""
    height, width = video.frames.shape[1:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    step = max(1, side // DRAWN_SIDE)
    rows, columns = slice(top, top + side, step), slice(left, left + side, step)
    return Video(video.frames[:, rows, columns], video.fps)
