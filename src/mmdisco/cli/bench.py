"""``mmdisco experiments bench``: what a guided step of a pair costs."""

from typing import Any

import typer

from mmdisco.cli.options import options_of
from mmdisco.cli.stopping import ANEW, running


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
    from mmdisco.experiments.benchmark.command import carry_out

    out = config.out
    said = "nothing is kept" if out is None else f"what was timed so far is kept in {out}"
    with running(f"{said}: {ANEW}") as run, progress("set up") as shown:
        if out is not None:
            run.write(out)
        table = carry_out(config, lambda done: shown.update("rounds", done, config.repeats))
    typer.echo(table)
