"""What ``mmdisco generate`` does with its arguments."""

import time
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from mmdisco.cli.generate_plan import (
    GenerationJob,
    GenerationPlan,
    Refusal,
    WrittenClip,
    raise_all,
    say,
)
from mmdisco.cli.progress import Durations, progress
from mmdisco.cli.stopping import Run
from mmdisco.errors import UserError
from mmdisco.generation.config import PRESET
from mmdisco.generation.generate import PreparedGeneration, prepare
from mmdisco.generation.metadata import ClipMetadata, Environment, Given, title_of
from mmdisco.io.files import write_json
from mmdisco.media.clip import AudioVideo

if TYPE_CHECKING:
    from mmdisco.generation.particles import EffectiveSampleSize

ANEW_ALL: Final = "the same command makes all of them again"


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
    for job, prepared in batches:
        for line in (*job.notices, *prepared.remarks()):
            say(line if len(plan.jobs) == 1 else f"{job.name}: {line}")
    spent.load = spent.lap()
    for (job, prepared), environment, taken in zip(batches, around, given, strict=True):
        try:
            made, logits, sizes = _sampled(prepared, spent, quiet=quiet)
        except UserError as error:
            if alone:
                raise
            refused += 1
            say(str(Refusal(job.name, error)))
            continue
        seconds = time.monotonic() - begin
        begin = time.monotonic()
        for sample, outputs in job.outputs.items():
            taken.write(made[sample], outputs, title_of(job.config))
            chosen = None if logits is None else logits[sample]
            looks = [one.of_clip(sample) for one in sizes]
            metadata = ClipMetadata(job.config, sample, environment, chosen, looks)
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
    if plan.jobs[:1] and plan.jobs[0].config.preset != PRESET:
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
) -> tuple[list[AudioVideo], list[list[float]] | None, "list[EffectiveSampleSize]"]:
    """Sample and decode; return the clips, and logits and effective sizes of their candidates."""
    sizes: list[EffectiveSampleSize] = []
    count, steps = prepared.config.candidates, prepared.generation.settings.steps
    with warnings.catch_warnings():
        warnings.showwarning = say
        with progress("sampling", quiet=quiet) as shown:
            shown.update("sampling", 0, steps)
            z_0 = None
            for done, latents in enumerate(prepared.run(sizes.append), start=1):
                z_0 = latents
                shown.update("sampling", done, steps, _effective(sizes[-1:], count))
            assert z_0 is not None  # there is at least one step
            spent.steps += spent.lap()
            selection = prepared.select(z_0)
            return selection.clips(), selection.logits, sizes


def _effective(last: "list[EffectiveSampleSize]", count: int) -> str:
    """Say how many candidates count, from the clip with the fewest to the one with the most."""
    if not last:
        return ""
    [look] = last
    ends = dict.fromkeys(f"{one:.1f}" for one in (min(look.sizes), max(look.sizes)))
    return f"effective sample size {' to '.join(ends)} of {count}"
