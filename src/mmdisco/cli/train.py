"""``mmdisco train``: a discriminator for a preset, from prepared clips and fakes."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from mmdisco.cli.options import Threads, options_of
from mmdisco.cli.stopping import GO_ON, running

if TYPE_CHECKING:
    from mmdisco.training.config import TrainingConfig

SETTINGS: Final = {
    "data": "data",
    "fakes": "fakes",
    "out": "out",
    "weights": "weights",
    "video_model": "video_model",
    "audio_model": "audio_model",
    "joint_model": "joint_model",
    "steps": "training.steps",
    "batch_size": "training.batch_size",
    "learning_rate": "training.learning_rate",
    "seed": "training.seed",
    "fusion": "discriminator.fusion",
    "cpu": "compute.cpu",
    "distill": "distill",
}
"""Settings that have an option of their own, by its name."""


@options_of("mmdisco.training.config:TrainingConfig", only=SETTINGS)
def train(
    config: Annotated[
        Path | None, typer.Argument(help="YAML file of settings; --defaults prints them all.")
    ] = None,
    threads: Threads = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any setting, as in loss.denoising=100; may be repeated."),
    ] = None,
    defaults: Annotated[
        bool,
        typer.Option(
            "--defaults", help="Print a YAML file of every setting with its meaning, and exit."
        ),
    ] = False,
    push_to_hub: Annotated[
        str | None, typer.Option(help="Id on the Hugging Face hub to put the result under.")
    ] = None,
    **options: Any,
) -> None:
    """Train a discriminator; the folder is what `generate --discriminator` takes.

    It can be stopped at any time; the same command goes on where it was. Several processes, devices
    and mixed precision: accelerate launch -m mmdisco train ...
    """
    # imports that --help need not wait for
    from mmdisco.training.config import TrainingConfig, read_config

    if defaults:
        typer.echo(TrainingConfig().commented(), nl=False)
        return
    given = {SETTINGS[name]: value for name, value in options.items()}
    configured = read_config(config, given, settings or [])
    folder = configured.folder("out")
    kept = f"everything up to the last checkpoint is kept in {folder}: {GO_ON}"
    with running(kept, threads) as run:
        run.work_in(folder)
        for line in execute(configured, push_to_hub):
            typer.echo(line)


def execute(config: "TrainingConfig", repository: str | None) -> Iterator[str]:
    """Train, with a progress bar.

    Yields:
        The folder, once it is complete; the address on the hub, once it is there.

    Raises:
        UserError: The hub can have no repository of that name, or what training raises.
    """
    from mmdisco.cli.progress import progress
    from mmdisco.discriminators.hub import PretrainedDiscriminator, expect_repository
    from mmdisco.training.callbacks import ProgressCallback
    from mmdisco.training.run import build

    if repository is not None:
        expect_repository(repository)
    with progress("clips and base models") as shown:
        own = ProgressCallback(shown.update, "training", config.training.steps)
        steps = config.contrastive_pretraining.steps
        before = ProgressCallback(shown.update, "contrastive pretraining", steps)
        training = build(config, [own], [before], shown.update)
        for _ in training.steps():
            pass
    if training.distributed.main:
        yield str(training.out)
        if repository is not None:
            yield PretrainedDiscriminator.push_to_hub(training.out, repository)
