"""``mmdisco train``: a discriminator for a preset, from prepared clips and fakes."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperOption
from typing_extensions import override

from mmdisco.cli.options import Threads, command_class
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
}
"""Settings that have an option of their own, by its name."""


class TrainCommand(TyperCommand):
    """The command; the help of settings is their description in the configuration."""

    @override
    def format_help(self, ctx: Any, formatter: Any) -> None:
        from mmdisco.training.config import TrainingConfig

        for option in self.params:
            if isinstance(option, TyperOption) and option.name in SETTINGS:
                option.help = TrainingConfig.describe(SETTINGS[option.name])
        super().format_help(ctx, formatter)


@command_class(TrainCommand)
def train(
    config: Annotated[
        Path | None, typer.Argument(help="YAML file of settings; --defaults prints them all.")
    ] = None,
    data: Annotated[Path | None, typer.Option()] = None,
    fakes: Annotated[Path | None, typer.Option()] = None,
    out: Annotated[Path | None, typer.Option()] = None,
    weights: Annotated[Path | None, typer.Option(rich_help_panel="Models")] = None,
    video_model: Annotated[str | None, typer.Option(rich_help_panel="Models")] = None,
    audio_model: Annotated[str | None, typer.Option(rich_help_panel="Models")] = None,
    joint_model: Annotated[str | None, typer.Option(rich_help_panel="Models")] = None,
    steps: Annotated[int | None, typer.Option()] = None,
    batch_size: Annotated[int | None, typer.Option()] = None,
    learning_rate: Annotated[float | None, typer.Option()] = None,
    seed: Annotated[int | None, typer.Option()] = None,
    fusion: Annotated[str | None, typer.Option()] = None,
    cpu: Annotated[bool, typer.Option("--cpu")] = False,
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
    folders = (data, fakes, out, weights, video_model, audio_model, joint_model)
    options = (*folders, steps, batch_size, learning_rate, seed, fusion, cpu or None)
    given: dict[str, Any] = dict(zip(SETTINGS.values(), options, strict=True))
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
        training = build(config, [own], [before])
        for _ in training.steps():
            pass
    if training.distributed.main:
        yield str(training.out)
        if repository is not None:
            yield PretrainedDiscriminator.push_to_hub(training.out, repository)
