"""Evaluation from command-line arguments to files."""

import os
import re
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

from accelerate import PartialState

from mmdisco.errors import UserError
from mmdisco.evaluation.evaluate import EvaluationConfig, evaluate, read_part
from mmdisco.evaluation.extract import ExtractionPlan, Watch, unwatched
from mmdisco.evaluation.registry import DEFAULT_FEATURES, DEFAULT_METRICS
from mmdisco.evaluation.report import markdown, page
from mmdisco.io.files import expect_writable, read_object, write_json, write_text
from mmdisco.io.settings import number, part_of
from mmdisco.media.read import ReadSpec
from mmdisco.training.diagnostics.report import Diagnostics

_MOST: Final = 1_000_000


@dataclass(frozen=True)
class EvaluateArgs:
    """Arguments, as ``mmdisco evaluate --help`` explains them."""

    generated: Path
    reference: Path | None = None
    training: Path | None = None
    metrics: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    json: Path | None = None
    report: Path | None = None
    seconds: float | None = None
    size: str | None = None
    fps: str | None = None
    rate: int | None = None
    seed: int = 0
    jobs: int = 1
    cache: Path | None = None
    part: str | None = None
    bases: Path | None = None
    diagnostics: Path | None = None
    audio_track: int | None = None
    threads: int = 1


def carry_out(options: EvaluateArgs, watch: Watch = unwatched) -> str:
    """Evaluate, write the requested files, and return the table.

    Raises:
        UserError: An argument is invalid, a file cannot be written, or a folder has no clips.
    """
    for path in (options.json, options.report):
        if path is not None:
            expect_writable(path)
    for name, value in (("--jobs", options.jobs), ("--threads", options.threads)):
        if value < 1:
            raise UserError(f"{name} must be at least 1, not {value}")
    _expect_effect(options)
    selection = selection_of(options)
    plan = ExtractionPlan(
        options.cache or default_cache(),
        options.metrics or DEFAULT_METRICS,
        options.features or DEFAULT_FEATURES,
        selection,
        options.jobs,
        options.threads,
    )
    order = EvaluationConfig(
        options.generated,
        options.reference,
        options.training,
        plan,
        options.seed,
        options.bases,
    )
    diagnostics = None if options.diagnostics is None else read_diagnostics(options.diagnostics)
    if options.part is not None:
        part, parts = part_of(options.part)
        return f"part {part} of {parts} is read: {read_part(order, part, parts, watch)} clips"
    if "WORLD_SIZE" in os.environ:
        state = PartialState()
        read_part(order, state.process_index, state.num_processes, watch)
        state.wait_for_everyone()
        if not state.is_main_process:
            return ""
    result = evaluate(order, _say, watch)
    text = markdown(result)
    if options.json is not None:
        write_json(options.json, result.record())
    if options.report is not None:
        write_text(options.report, page(result, selection, diagnostics))
        write_text(options.report.with_suffix(".md"), f"{text}\n")
    return text


def _say(line: str) -> None:
    sys.stderr.write(f"mmdisco: {line}\n")


def _expect_effect(options: EvaluateArgs) -> None:
    if options.diagnostics is not None and options.report is None:
        raise UserError("--diagnostics is for the report: give --report too, or leave it out")
    if options.part is not None and (options.json or options.report):
        raise UserError("--shard measures nothing: leave --json and --report out until all is read")


def selection_of(options: EvaluateArgs) -> ReadSpec:
    """Make the specification of how clips are read.

    Raises:
        UserError: A size or a rate is invalid.
    """
    return ReadSpec(
        seconds=_positive("--seconds", options.seconds),
        fps=_positive("--fps", options.fps),
        size=_size(options.size),
        audio_track=_track(options.audio_track),
        sample_rate=None if options.rate is None else int(_positive("--rate", options.rate) or 0),
    )


def read_diagnostics(path: Path) -> Diagnostics:
    """Read the diagnostics that ``mmdisco diagnose`` wrote.

    Raises:
        UserError: The file is missing, or is something else.
    """
    try:
        return Diagnostics.of_record(read_object(path))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(f"{path} is no diagnostics.json that `mmdisco diagnose` wrote") from error


def default_cache() -> Path:
    """Return the default folder of cached features."""
    named = os.environ.get("MMDISCO_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return (Path(named) if named else Path(base) / "mmdisco") / "clips"


def _positive(name: str, given: float | int | str | None) -> Fraction | None:
    if given is None:
        return None
    try:
        value = number(given)
    except ValueError:
        value = Fraction(0)
    if not 0 < value < _MOST:
        raise UserError(f"{name} must be a positive number below {_MOST}, not {given!r}")
    return value


def _track(number: int | None) -> int | None:
    if number is not None and number < 1:
        raise UserError(f"--audio-track {number}: give at least 1")
    return number


def _size(words: str | None) -> tuple[int, int] | None:
    """Parse HEIGHTxWIDTH to (height, width)."""
    if words is None:
        return None
    found = re.fullmatch(r"(\d+)x(\d+)", words)
    if not found or not int(found[1]) or not int(found[2]):
        raise UserError(f"--size must be HEIGHTxWIDTH, as in 64x64, not {words!r}")
    return int(found[1]), int(found[2])
