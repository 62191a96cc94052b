"""What ``mmdisco generate`` does with its arguments."""

import sys
import time
import warnings
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from textwrap import shorten
from typing import Final

from mmdisco.cli.generate_given import Given
from mmdisco.cli.generate_order import (
    GenerateArgs,
    GenerationJob,
    GenerationPlan,
    OutputPaths,
    Refusal,
    plan,
)
from mmdisco.cli.progress import progress
from mmdisco.cli.stopping import Run
from mmdisco.errors import UserError
from mmdisco.generation.generate import PreparedGeneration, Request, prepare
from mmdisco.generation.metadata import Environment, to_metadata
from mmdisco.generation.presets.registry import DEFAULT
from mmdisco.io.files import write_json
from mmdisco.media.clip import AudioVideo, Video
from mmdisco.media.plots import draw_clips
from mmdisco.media.write import write_audio, write_clip

SHOWN_SIDE: Final = 256  # pixels; smaller pictures are magnified up to it
DRAWN_SIDE: Final = 64
LONGEST_TITLE: Final = 100
ANEW_ALL: Final = "the same command makes all of them again"


def execute(order: GenerateArgs, run: Run) -> Iterator[Path]:
    """Make the clips and all that goes with them.

    Args:
        order: What to make.
        run: Told where it writes, and how much of it is there.

    Yields:
        The path of every file, once it is there.
    """
    begin = time.monotonic()
    checked = plan(order)
    clips = [one.clip for job in checked.jobs for one in job.outputs.values()]
    # with a name given, all are named after it
    run.write(*([order.out] if order.out is not None else []), *clips)
    whole = 0
    if checked.choice.preset != DEFAULT:
        _hush_libraries()
    # all before the first is sampled: what is wrong with the last one is said at once
    batches, refused = _prepared(checked)
    device = checked.choice.options.torch_device()
    around = [Environment.of(job.request, checked.pair, device) for job, _ in batches]
    changes = checked.record.changes(around[0]) if checked.record else None
    given = [Given.of(job.request, checked.pair.form.seconds, job.suffix) for job, _ in batches]
    for line in filter(None, dict.fromkeys((changes, *(one.used for one in given)))):
        _say(line)
    for job, prepared in batches:
        for line in prepared.warnings:
            _say(line if len(checked.jobs) == 1 else f"{job.name}: {line}")
    for (job, prepared), surroundings, taken in zip(batches, around, given, strict=True):
        try:
            made = _sampled(prepared)
        except UserError as error:
            if len(checked.jobs) == 1:
                raise
            refused += 1
            _say(str(Refusal(job.name, error)))
            continue
        seconds = time.monotonic() - begin
        begin = time.monotonic()
        for sample, outputs in job.outputs.items():
            _write(made[sample], outputs, _title(job.request), taken)
            record = to_metadata(prepared, checked.choice, surroundings, sample, seconds)
            write_json(outputs.record, record)
            whole += 1
            run.kept = f"{whole} of {len(clips)} clips are whole and kept: {ANEW_ALL}"
            yield from outputs.all
    if refused:
        asked = len(checked.jobs) + len(checked.refused)
        raise UserError(f"{refused} of {asked} prompts made no clip")


def _prepared(plan: GenerationPlan) -> tuple[list[tuple[GenerationJob, PreparedGeneration]], int]:
    """What can be sampled, and how many prompts cannot, each of which is named with its reason.

    Raises:
        UserError: The only prompt cannot.
    """
    ready: list[tuple[GenerationJob, PreparedGeneration]] = []
    refused = list(plan.refused)
    for job in plan.jobs:
        try:
            ready.append((job, prepare(job.request, plan.pair)))
        except UserError as error:
            if len(plan.jobs) + len(plan.refused) == 1:
                raise
            refused.append(Refusal(job.name, error))
    reasons = {str(one.reason) for one in refused}
    if not ready and len(reasons) == 1:
        raise refused[0].reason  # it is not the prompts
    for one in refused:
        _say(str(one))
    return ready, len(refused)


def _hush_libraries() -> None:
    """Their bars and their advice to programmers are not for whoever reads the terminal."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for logging in (diffusers_logging, transformers_logging):
        logging.set_verbosity_error()
        logging.disable_progress_bar()


def _say(message: Warning | str, *_: object) -> None:
    sys.stderr.write(f"mmdisco: {message}\n")


def _sampled(prepared: PreparedGeneration) -> list[AudioVideo]:
    with warnings.catch_warnings():
        warnings.showwarning = _say
        return _run(prepared)


def _run(prepared: PreparedGeneration) -> list[AudioVideo]:
    with progress("sampling") as shown:
        steps = shown.track(prepared.run(), "sampling", prepared.sampling.steps)
        return prepared.clips(deque(steps, maxlen=1).pop())


def _write(clip: AudioVideo, outputs: OutputPaths, title: str, given: Given) -> None:
    least = SHOWN_SIDE if given.magnified else 1
    magnify = max(1, least // max(clip.video.frames.shape[1:3]))
    write_clip(outputs.clip, clip, magnify, given.picture, given.sound)
    if outputs.wav:
        write_audio(outputs.sound, clip.audio)
    with warnings.catch_warnings():
        # a letter of the prompt that the font lacks is drawn as a box, and that is all
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        draw_clips(outputs.picture, {title: AudioVideo(clip.audio, _small(clip.video))})


def _title(request: Request) -> str:
    said = request.caption.strip() or (request.given.name if request.given else "")
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
