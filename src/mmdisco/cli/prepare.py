"""``mmdisco prepare``: from films to what a discriminator is trained on."""

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from mmdisco.cli.options import Threads, options_of
from mmdisco.cli.stopping import GO_ON, running

if TYPE_CHECKING:
    from mmdisco.data.config import PrepareConfig

_LISTS: Final = ("files", "clips", "histograms")  # of a report, as long as the source


@options_of(
    "mmdisco.data.config:PrepareConfig",
    without=("frames", "as_released", "discriminator", "offload", "vae_slicing", "vae_tiling"),
)
def prepare(
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Say nothing but names of files and what went wrong."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the counts and the files as a line of JSON.")
    ] = False,
    threads: Threads = None,
    **options: Any,
) -> None:
    """Decode, judge and encode films: shards, manifest, report, split for validation.

    The same command goes on where it was stopped, and makes again what was damaged.
    """
    # imports that --help need not wait for
    from mmdisco.cli.config_options import given
    from mmdisco.data.config import PrepareConfig

    config = PrepareConfig(**given(options))
    with running(f"finished shards are kept in {config.out}: {GO_ON}", threads) as run:
        run.work_in(config.out)
        for line in execute(config, quiet=quiet, as_json=as_json):
            typer.echo(line)


def execute(
    config: "PrepareConfig", *, quiet: bool = False, as_json: bool = False
) -> Iterator[str]:
    """Prepare, with a progress bar unless ``quiet``.

    Yields:
        What to print: counts, then paths; or one line of JSON with both.

    Raises:
        UserError: What ``prepare`` raises.
    """
    from mmdisco.cli.progress import progress
    from mmdisco.data.prepare.report import summary_lines
    from mmdisco.data.prepare.run import prepare
    from mmdisco.io.files import read_object

    with progress("looking at files", quiet=quiet) as shown:
        for step in prepare(config):
            if step.notice:
                sys.stderr.write(f"mmdisco: {step.notice}\n")
            said = " ".join(step.doing.encode("utf-8", "replace").decode().split())[-40:]
            doing = "clips" if step.total else "looking at files"
            shown.update(doing, step.done, step.total or None, said)
    summary = read_object(config.out / "report.json")
    files = {"report": config.out / "report.html", "prepared": config.out / "prepared.json"}
    if as_json:
        counts = {key: one for key, one in summary.items() if key not in _LISTS}
        named = {key: str(path) for key, path in files.items()}
        yield json.dumps({**counts, **named})
        return
    if not quiet:
        yield from summary_lines(summary)
    else:
        for line in summary["reconstruction"]["remarks"]:
            sys.stderr.write(f"mmdisco: {line}\n")
    yield from map(str, files.values())
