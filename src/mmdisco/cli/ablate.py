"""``mmdisco experiments ablate``: what matters, by one study after the other."""

import os
from pathlib import Path
from typing import Annotated

import typer

from mmdisco.cli.options import FakesOfData, Weights, WorkerThreads
from mmdisco.cli.stopping import GO_ON, running


def ablate(
    study: Annotated[
        str,
        typer.Argument(
            help="central, loss, fusion, size, steps, negatives, levels (these train), "
            "scales, intervals, reuse, samplers or resampling (these only sample)."
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Folder of all studies, which share what is trained.")
    ] = Path("ablations"),
    seeds: Annotated[int | None, typer.Option(help="Of training and sampling, from 0; 3.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder that `mmdisco prepare` made; embedded data if not.")
    ] = None,
    fakes: FakesOfData = None,
    weights: Weights = None,
    discriminator: Annotated[
        str | None,
        typer.Option(help="Folder or hub id of the one that studies of sampling use."),
    ] = None,
    pair_stores: Annotated[
        Path | None,
        typer.Option(help="Folder with embedded pairs in stores real and fake; made if left out."),
    ] = None,
    clips: Annotated[
        int | None,
        typer.Option(help="Made for each variant and seed: 128 on embedded data, 0 on other."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Training steps of a variant; 600.")] = None,
    contrastive_steps: Annotated[
        int | None,
        typer.Option(
            help="Steps of contrastive pretraining, of attention+correlation; 600, 0 is none."
        ),
    ] = None,
    variants: Annotated[
        list[str] | None,
        typer.Option(
            "--variant", help="Only this one, beside the unguided baseline; may be repeated."
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(help="Processes.")] = os.cpu_count() or 1,
    threads: WorkerThreads = 1,
    quick: Annotated[
        bool, typer.Option("--quick", help="Very small and one seed: to see that it works.")
    ] = False,
) -> None:
    """A study: train, sample, measure; a table (CSV, JSON, Markdown), a picture and a page.

    Everything is kept as it is done; the same command goes on where it was stopped.
    """
    # the libraries behind take seconds to import, which --help need not wait for
    from mmdisco.cli.ablate_order import AblateArgs, execute

    order = AblateArgs(
        study=study,
        out=out,
        seeds=seeds,
        data=data,
        fakes=fakes,
        weights=weights,
        discriminator=discriminator,
        stores=pair_stores,
        clips=clips,
        steps=steps,
        first=contrastive_steps,
        jobs=jobs,
        threads=threads,
        quick=quick,
        variants=tuple(variants or ()),
    )
    said = f"measured cells and trainings up to their last checkpoint are kept in {out}: {GO_ON}"
    with running(said, threads) as run:
        run.work_in(out)
        for line in execute(order):
            typer.echo(line)
