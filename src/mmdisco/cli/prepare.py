"""``mmdisco prepare``: from films to what a discriminator is trained on."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from mmdisco.cli.options import Threads, options_of
from mmdisco.cli.stopping import GO_ON, running

if TYPE_CHECKING:
    from mmdisco.data.config import PrepareConfig


@options_of(
    "mmdisco.data.config:PrepareConfig",
    without=("frames", "as_released", "discriminator", "offload", "vae_slicing", "vae_tiling"),
)
def prepare(threads: Threads = None, **options: Any) -> None:
    """Decode, judge and encode films: shards, manifest, report, split for validation.

    The same command goes on where it was stopped, and makes again what was damaged.
    """
    # imports that --help need not wait for
    from mmdisco.cli.config_options import given
    from mmdisco.data.config import PrepareConfig

    config = PrepareConfig(**given(options))
    with running(f"finished shards are kept in {config.out}: {GO_ON}", threads) as run:
        run.work_in(config.out)
        for line in execute(config):
            typer.echo(line)


def execute(config: "PrepareConfig") -> Iterator[str]:
    """Prepare, with a progress bar.

    Yields:
        What to print: counts, then paths.

    Raises:
        UserError: What ``prepare`` raises.
    """
    from mmdisco.cli.progress import progress
    from mmdisco.data.prepare.report import summary_lines
    from mmdisco.data.prepare.run import prepare
    from mmdisco.io.files import read_object

    with progress("looking at files") as shown:
        for step in prepare(config):
            if step.notice:
                sys.stderr.write(f"mmdisco: {step.notice}\n")
            said = " ".join(step.doing.encode("utf-8", "replace").decode().split())[-40:]
            doing = "clips" if step.total else "looking at files"
            shown.update(doing, step.done, step.total or None, said)
    yield from summary_lines(read_object(config.out / "report.json"))
    yield str(config.out / "report.html")
    yield str(config.out / "prepared.json")
