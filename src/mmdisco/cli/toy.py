"""``mmdisco experiments toy``: the toy study as one command."""

import os
from pathlib import Path
from typing import Annotated

import typer

from mmdisco.cli.options import WorkerThreads
from mmdisco.cli.stopping import GO_ON, running


def toy(
    name: Annotated[
        str, typer.Option("--study", help="Which study; an unknown name lists them.")
    ] = "losses",
    problem: Annotated[
        list[str] | None, typer.Option(help="Only this one; may be repeated.")
    ] = None,
    setting: Annotated[
        list[str] | None, typer.Option(help="Only ind or ood; may be repeated.")
    ] = None,
    loss: Annotated[
        list[str] | None, typer.Option(help="Only disc, denoise or both; may be repeated.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Seeds, counted from 0; 3.")] = None,
    steps: Annotated[int | None, typer.Option(help="Training steps.")] = None,
    width: Annotated[int | None, typer.Option(help="Width of the discriminator.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Real pairs a step.")] = None,
    denoising: Annotated[
        float | None, typer.Option("--lambda", help="Weight λ of the denoising loss.")
    ] = None,
    distribution: Annotated[
        str | None,
        typer.Option(help="Distribution of noise levels: power (usual), or importance."),
    ] = None,
    power: Annotated[
        float | None, typer.Option(help="Its exponent: 1 is uniform, 2 favours low noise.")
    ] = None,
    trained_bases: Annotated[
        bool | None,
        typer.Option("--trained-bases/--analytic-bases", help="Small networks, or closed forms."),
    ] = None,
    samples: Annotated[int | None, typer.Option(help="Samples of each evaluation.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the results.")] = None,
    jobs: Annotated[int, typer.Option(help="Processes.")] = os.cpu_count() or 1,
    threads: WorkerThreads = 1,
    short: Annotated[
        bool, typer.Option("--quick", help="Two problems, one seed, under a minute.")
    ] = False,
) -> None:
    """Joint guidance on problems with a known answer: numbers, a table and two pictures.

    A stopped study goes on where it was when the same command is given again.
    """
    # the libraries behind a study take seconds to import, which --help need not wait for
    from mmdisco.cli.toy_study import ToyArgs, execute

    options = {
        "training.steps": steps,
        "width": width,
        "training.batch_size": batch_size,
        "denoising": denoising,
        "levels.distribution": distribution,
        "levels.power": power,
        "trained_bases": trained_bases,
        "samples": samples,
    }
    order = ToyArgs(
        study=name,
        problems=tuple(problem or ()),
        settings=tuple(setting or ()),
        losses=tuple(loss or ()),
        seeds=seeds,
        options={key: value for key, value in options.items() if value is not None},
        quick=short,
    )
    folder = out or order.folder
    said = f"finished cells are kept in {folder}, others from their last checkpoint on: {GO_ON}"
    with running(said) as run:
        run.work_in(folder)
        for line in execute(order, folder, jobs, threads):
            typer.echo(line)
