"""``mmdisco bases``: two base models of one's own, from short clips of a small world."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from mmdisco.cli.options import Threads, options_of
from mmdisco.cli.stopping import GO_ON, running

if TYPE_CHECKING:
    from mmdisco.training.bases.config import BasesConfig

NETWORKS: Final = (
    "text",
    "audio_autoencoder",
    "video_autoencoder",
    "audio_denoiser",
    "video_denoiser",
)


def _print_defaults(wanted: bool) -> bool:
    if not wanted:
        return wanted
    from pathlib import Path

    from mmdisco.training.bases.config import BasesConfig

    typer.echo(BasesConfig(source=Path("clips"), out=Path("pair")).commented(), nl=False)
    raise typer.Exit


@options_of("mmdisco.training.bases.config:BasesConfig", without=NETWORKS)
def bases(
    threads: Threads = None,
    jobs: Annotated[
        int,
        typer.Option(
            min=1,
            max=2,
            help="Processes: 2 train the two autoencoders side by side, then the two denoisers, "
            "each with --threads threads.",
        ),
    ] = 1,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Any setting, as in video_denoiser.steps=20000; may be repeated."
        ),
    ] = None,
    defaults: Annotated[
        bool,
        typer.Option(
            "--defaults",
            help="Print every setting with its meaning, and exit.",
            is_eager=True,
            callback=_print_defaults,
        ),
    ] = False,
    **options: Any,
) -> None:
    """Train a text encoder, two autoencoders and two denoisers on clips of a small world.

    The folder is what `--preset` takes. It can be stopped at any time; the same command goes on
    where it was. Meant for thousands of short clips of few things, not for films.
    """
    # imports that --help need not wait for
    from mmdisco.cli.config_options import given
    from mmdisco.io.settings import nested
    from mmdisco.training.bases.config import BasesConfig
    from mmdisco.training.config import parse_changes

    config = BasesConfig.of_tree(nested({**given(options), **parse_changes(settings or [])}))
    kept = f"everything up to the last checkpoint is kept in {config.out}: {GO_ON}"
    with running(kept, threads) as run:
        run.work_in(config.out)
        for line in execute(config, jobs):
            typer.echo(line)


def execute(config: "BasesConfig", jobs: int = 1) -> Iterator[str]:
    """Train, with a progress bar.

    Args:
        config: The configuration.
        jobs: Number of processes.

    Yields:
        The folder, then its model card.

    Raises:
        UserError: What ``BasesRun.make`` raises.
    """
    from mmdisco.cli.progress import progress
    from mmdisco.training.bases.run import BasesRun

    def notify(line: str) -> None:
        sys.stderr.write(f"mmdisco: {line}\n")

    with progress("looking at files") as shown:
        card = BasesRun(config, shown.update, notify, jobs).make()
    yield str(config.out)
    yield str(card)
