"""``mmdisco experiments bench``: what a guided step of a pair costs."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

from mmdisco.cli.options import options_of
from mmdisco.cli.stopping import ANEW, running

if TYPE_CHECKING:
    from mmdisco.experiments.config import BenchmarkConfig


@options_of("mmdisco.experiments.config:BenchmarkConfig")
def bench(**options: Any) -> None:
    """Time, memory and operations of one guided step: both base models, discriminator, scheduler.

    Networks of a named pair are of full size, with random weights: nothing is downloaded, and clips
    are not made. Models instead are loaded as they are, beside a new discriminator.
    """
    # imports that --help need not wait for
    from mmdisco.cli.config_options import given
    from mmdisco.cli.progress import progress
    from mmdisco.experiments.config import BenchmarkConfig

    config = BenchmarkConfig(**given(options))
    out = config.out
    said = "nothing is kept" if out is None else f"what was timed so far is kept in {out}"
    with running(f"{said}: {ANEW}") as run, progress("set up") as shown:
        if out is not None:
            run.write(out)
        table = execute(config, lambda done: shown.update("rounds", done, config.repeats))
    typer.echo(table)


def execute(config: "BenchmarkConfig", watch: Callable[[int], object] = lambda _: None) -> str:
    """Measure, write the files, and return the table.

    Args:
        config: Configuration of the benchmark.
        watch: Called after every round with the number of timed rounds.

    Raises:
        UserError: There is no such pair or device, or a file cannot be written.
    """
    import torch

    from mmdisco.experiments.benchmark import results
    from mmdisco.experiments.benchmark.measure import measure

    pair = results.pair_of(config)
    results.expect_device(config.device)
    if config.out is not None:
        results.expect_ours(config.out)
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads or before)
    record: dict[str, Any] = {}
    try:
        for measured in measure(pair, config):
            record = results.record_of(measured, config)
            watch(len(measured.steps))
            # a step can take minutes: measurements are kept when the rest is interrupted
            if config.out is not None:
                results.write_record(config.out, results.title_of(config), record)
    finally:
        torch.set_num_threads(before)
    return results.table(record)
