"""``mmdisco train``: a discriminator for a preset, from prepared clips and fakes."""

from pathlib import Path
from typing import Annotated

import typer

from mmdisco.cli.options import Data, FakesOfData, Threads, Weights
from mmdisco.cli.stopping import GO_ON, running


def train(
    config: Annotated[
        Path | None, typer.Argument(help="YAML file of settings; docs/training.md lists them.")
    ] = None,
    data: Data = None,
    fakes: FakesOfData = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the discriminator.")] = None,
    weights: Weights = None,
    steps: Annotated[int | None, typer.Option(help="Updates in all.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Real pairs a step, in all.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Its peak.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of every random number.")] = None,
    interaction: Annotated[
        str | None, typer.Option(help="time (usual), products, pooled or additive.")
    ] = None,
    cpu: Annotated[bool, typer.Option("--cpu", help="Stay on the CPU.")] = False,
    threads: Threads = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any setting, as in loss.denoising=100; may be repeated."),
    ] = None,
    push_to_hub: Annotated[
        str | None, typer.Option(help="Id on the Hugging Face hub to put the result under.")
    ] = None,
) -> None:
    """Train a discriminator; the folder is what `generate --discriminator` takes.

    Stop it whenever; the same command goes on where it was. Several processes, devices and mixed
    precision: accelerate launch -m mmdisco train ...
    """
    # the libraries behind take seconds to import, which --help need not wait for
    from mmdisco.cli.train_order import execute
    from mmdisco.training.config_io import read_config

    given = {
        "data": data,
        "fakes": fakes,
        "out": out,
        "weights": weights,
        "training.steps": steps,
        "training.batch_size": batch_size,
        "training.learning_rate": learning_rate,
        "training.seed": seed,
        "discriminator.interaction": interaction,
        "work.cpu": cpu or None,
    }
    course = read_config(config, given, settings or [])
    said = f"everything up to the last checkpoint is kept in {course.out}: {GO_ON}"
    with running(said, threads) as run:
        run.work_in(course.out)
        for line in execute(course, push_to_hub):
            typer.echo(line)
