"""``mmdisco sample-fakes``: fake pairs from the base models, for the captions of prepared clips."""

from pathlib import Path
from typing import Annotated

import typer

from mmdisco.cli.options import Device, Threads, Weights
from mmdisco.cli.stopping import GO_ON, running


def sample_fakes(
    prepared: Annotated[Path, typer.Argument(help="Folder that `mmdisco prepare` made.")],
    out: Annotated[Path, typer.Option(help="Folder of the fakes.")],
    preset: Annotated[
        str | None, typer.Option(help="Must be that of the clips, which is the default.")
    ] = None,
    weights: Weights = None,
    samples_per_clip: Annotated[int, typer.Option(help="Fakes of each clip's caption.")] = 1,
    max_per_caption: Annotated[
        int | None,
        typer.Option(
            help="Fakes of one caption at most, for captions of many clips; no limit if left out."
        ),
    ] = None,
    shard_size: Annotated[int, typer.Option(help="Fakes that are made in one batch.")] = 32,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    steps: Annotated[
        int | None, typer.Option(help="Evaluations of the models; the preset's if left out.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="How to step; an unknown name lists them.")
    ] = None,
    cfg_scale: Annotated[
        float | None, typer.Option(help="Weight of the prompt in both; the preset's if left out.")
    ] = None,
    device: Device = None,
    threads: Threads = None,
    shard: Annotated[
        str | None,
        typer.Option(
            help="Share I/N of the work, as in 0/4: every N-th shard from I on. Under `accelerate "
            "launch` this is set already.",
        ),
    ] = None,
) -> None:
    """Sample the bases alone, without joint guidance: what the discriminator learns to tell.

    Stop it whenever; the same command goes on where it was. Several processes may share a folder.
    """
    # the libraries behind take seconds to import, which --help need not wait for
    from mmdisco.cli.fakes_order import FakesArgs, execute
    from mmdisco.evaluation.command import part_of

    order = FakesArgs(
        prepared=prepared,
        out=out,
        preset=preset,
        weights=weights,
        samples=samples_per_clip,
        most=max_per_caption,
        shard=shard_size,
        seed=seed,
        steps=steps,
        solver=scheduler,
        guidance_scale=cfg_scale,
        device=device,
        part=None if shard is None else part_of(shard),
    )
    rank, processes = order.share
    with running(f"finished shards are kept in {out}: {GO_ON}", threads) as run:
        # several processes fill the folder, each its own share
        run.hold(out, f".{rank}-{processes}.lock")
        run.share(out)
        typer.echo(execute(order))
