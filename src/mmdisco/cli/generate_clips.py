"""What ``mmdisco generate`` does with its arguments."""

import time
import warnings
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from textwrap import shorten
from typing import TYPE_CHECKING, Final

from mmdisco.cli.generate_plan import (
    GenerationJob,
    GenerationPlan,
    OutputPaths,
    Refusal,
    WrittenClip,
    raise_all,
    say,
)
from mmdisco.cli.progress import Durations, progress
from mmdisco.cli.stopping import Run
from mmdisco.errors import UserError
from mmdisco.generation.config import GenerateConfig
from mmdisco.generation.generate import PreparedGeneration, prepare
from mmdisco.generation.metadata import ClipMetadata, Environment
from mmdisco.generation.presets.registry import DEFAULT
from mmdisco.io.files import write_json
from mmdisco.media.clip import AudioVideo, Video
from mmdisco.media.plots import draw_clips
from mmdisco.media.write import write_audio, write_clip

if TYPE_CHECKING:
    from mmdisco.media.copying import Picture, Sound

SHOWN_SIDE: Final = 256  # pixels; smaller pictures are magnified up to it
DRAWN_SIDE: Final = 64
LONGEST_TITLE: Final = 100
ANEW_ALL: Final = "the same command makes all of them again"


@dataclass(frozen=True)
class Given:
    """The given side of the clips of one config.

    Attributes:
        picture: That of the given video, if it can be copied.
        sound: That of the given sound.
        magnified: Whether small pictures are: those that are made, not one that is given.
        used: How much of the file is used and what becomes of it, in a line; "" without a file.
    """

    picture: "Picture | None" = None
    sound: "Sound | None" = None
    magnified: bool = True
    used: str = ""

    @staticmethod
    def of(config: GenerateConfig, seconds: Fraction, suffix: str) -> "Given":
        """Return what the clips of a request take over.

        Args:
            config: Request, with or without a given file.
            seconds: Length of the clips.
            suffix: Ending of their names.

        Raises:
            UserError: The file cannot be read.
        """
        if config.given is None:
            return Given()
        from mmdisco.media.conditioning_clip import share
        from mmdisco.media.copying import Picture, Sound

        start = config.start
        if config.video is not None:
            picture = Picture(config.video, start, seconds)
            copied = picture.can_be_copied
            way = f"the picture {'copied' if copied else 'encoded anew'}"
            used = f"{share(config.video, start, seconds)}, {way}"
            return Given(picture if copied else None, None, magnified=False, used=used)
        sound = Sound(config.given, start, seconds, config.audio_track)
        used = f"{share(config.given, start, seconds)}, {sound.way(suffix)}"
        return Given(sound=sound, used=used)


def execute(
    plan: GenerationPlan, run: Run, spent: Durations, *, quiet: bool = False
) -> Iterator[WrittenClip]:
    """Make the clips and all that goes with them.

    Args:
        plan: Clips to make.
        run: Run that is told where files are written, and how much of them is there.
        spent: Filled in with the seconds that it takes.
        quiet: Whether no progress is shown.

    Yields:
        Every clip, once its files are there.
    """
    begin = time.monotonic()
    clips = [one.clip for job in plan.jobs for one in job.outputs.values()]
    run.write(*clips, names=plan.locks)
    whole = 0
    # all before the first is sampled: what is wrong with the last one is said at once
    batches, refused = _prepared(plan)
    around = Environment.of_run([job.config for job, _ in batches], plan.system)
    changes = plan.record.changes(around[0]) if plan.record else None
    given = [Given.of(job.config, plan.system.form.seconds, job.suffix) for job, _ in batches]
    for line in filter(None, dict.fromkeys((changes, *(one.used for one in given)))):
        say(line)
    alone = len(plan.jobs) + len(plan.refused) == 1
    for job, _ in batches:
        for line in job.notices:
            say(line if len(plan.jobs) == 1 else f"{job.name}: {line}")
    spent.load = spent.lap()
    for (job, prepared), environment, taken in zip(batches, around, given, strict=True):
        try:
            made, logits = _sampled(prepared, spent, quiet=quiet)
        except UserError as error:
            if alone:
                raise
            refused += 1
            say(str(Refusal(job.name, error)))
            continue
        seconds = time.monotonic() - begin
        begin = time.monotonic()
        for sample, outputs in job.outputs.items():
            _write(made[sample], outputs, _title(job.config), taken)
            chosen = None if logits is None else logits[sample]
            metadata = ClipMetadata(job.config, sample, environment, chosen)
            write_json(outputs.record, metadata.to_record(seconds))
            whole += 1
            spent.finish += spent.lap()
            run.kept = f"{whole} of {len(clips)} clips are whole and kept: {ANEW_ALL}"
            yield WrittenClip(outputs, job.config, sample)
    if refused:
        asked = len(plan.jobs) + len(plan.refused)
        raise UserError(f"{refused} of {asked} prompts made no clip")


def _prepared(plan: GenerationPlan) -> tuple[list[tuple[GenerationJob, PreparedGeneration]], int]:
    """Prepare what can be sampled; count the prompts that cannot, and name each with its reason.

    Raises:
        UserError: The only prompt cannot, or none can for the same reason.
    """
    if plan.jobs[:1] and plan.jobs[0].config.preset != DEFAULT:
        _hush_libraries()
    ready: list[tuple[GenerationJob, PreparedGeneration]] = []
    refused = list(plan.refused)
    for job in plan.jobs:
        try:
            ready.append((job, prepare(job.config, plan.system)))
        except UserError as error:
            refused.append(Refusal(job.name, error))
    if not ready:
        raise_all(refused)
    for one in refused:
        say(str(one))
    return ready, len(refused)


def _hush_libraries() -> None:
    """Silence bars and advice to programmers, which are not for whoever reads the terminal."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for logging in (diffusers_logging, transformers_logging):
        logging.set_verbosity_error()
        logging.disable_progress_bar()


def _sampled(
    prepared: PreparedGeneration, spent: Durations, *, quiet: bool
) -> tuple[list[AudioVideo], list[list[float]] | None]:
    """Sample and decode; return the clips, and the logits of the candidates of each."""
    with warnings.catch_warnings():
        warnings.showwarning = say
        with progress("sampling", quiet=quiet) as shown:
            steps = shown.track(prepared.run(), "sampling", prepared.generation.settings.steps)
            z_0 = deque(steps, maxlen=1).pop()
            spent.steps += spent.lap()
            selection = prepared.select(z_0)
            return selection.clips(), selection.logits


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


def _title(config: GenerateConfig) -> str:
    said = config.caption.strip() or (config.given.name if config.given else "")
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
