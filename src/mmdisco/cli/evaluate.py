"""``mmdisco evaluate``: figures of a folder of clips, anyone's."""

import os
import sys
from typing import TYPE_CHECKING, Any

import typer

from mmdisco.cli.options import options_of
from mmdisco.cli.stopping import GO_ON, running

if TYPE_CHECKING:
    from mmdisco.evaluation.config import EvaluationConfig
    from mmdisco.evaluation.extract import Watch


@options_of("mmdisco.evaluation.config:EvaluationConfig")
def evaluate(**options: Any) -> None:
    """Fidelity, alignment, memorisation and diversity, with intervals and baselines.

    Clips that cannot be read, are silent or of another form are named. What was read of a clip is
    kept: the same command goes on where it was stopped. Under `accelerate launch` every process
    reads its share.
    """
    # imports that --help need not wait for
    from mmdisco.cli.config_options import given
    from mmdisco.cli.progress import progress
    from mmdisco.evaluation.config import EvaluationConfig

    config = EvaluationConfig(**given(options))
    said = f"what was read of clips is kept in {config.cache_dir}: {GO_ON}"
    with running(said, config.threads) as run, progress("clips") as shown:
        run.share(config.cache_dir)
        run.write(*filter(None, (config.json_file, config.report)))
        table = execute(config, shown.update)
    typer.echo(table)


def execute(config: "EvaluationConfig", watch: "Watch | None" = None) -> str:
    """Evaluate, write the requested files, and return the table.

    Raises:
        UserError: A file cannot be written, or a folder has no clips.
    """
    from accelerate import PartialState

    from mmdisco.evaluation.evaluate import evaluate, read_part
    from mmdisco.evaluation.extract import unwatched
    from mmdisco.evaluation.report import markdown, page
    from mmdisco.io.files import expect_writable, write_json, write_text
    from mmdisco.training.diagnostics.report import Diagnostics

    for path in filter(None, (config.json_file, config.report)):
        expect_writable(path)
    watch = watch or unwatched
    diagnostics = None if config.diagnostics is None else Diagnostics.read(config.diagnostics)
    if config.shard is not None:
        part, parts = config.shard
        return f"part {part} of {parts} is read: {read_part(config, part, parts, watch)} clips"
    if "WORLD_SIZE" in os.environ:
        state = PartialState()
        read_part(config, state.process_index, state.num_processes, watch)
        state.wait_for_everyone()
        if not state.is_main_process:
            return ""
    result = evaluate(config, lambda line: sys.stderr.write(f"mmdisco: {line}\n"), watch)
    text = markdown(result)
    if config.json_file is not None:
        write_json(config.json_file, result.record())
    if config.report is not None:
        write_text(config.report, page(result, config.selection, diagnostics))
        write_text(config.report.with_suffix(".md"), f"{text}\n")
    return text
