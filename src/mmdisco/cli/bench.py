"""``mmdisco experiments bench``: what a guided step of a pair costs."""

from pathlib import Path
from typing import Annotated

import typer

from mmdisco.cli.stopping import ANEW, running


def bench(
    pair: Annotated[
        str | None, typer.Argument(help="Which pair; an unknown name lists them.")
    ] = None,
    video_model: Annotated[
        str | None,
        typer.Option(help="Video pipeline of diffusers: a folder or an id, with its weights."),
    ] = None,
    audio_model: Annotated[
        str | None, typer.Option(help="Audio pipeline of diffusers, beside --video-model.")
    ] = None,
    repeats: Annotated[int, typer.Option(help="Steps that are timed.")] = 3,
    warm_up: Annotated[
        bool,
        typer.Option(help="A step before them; where a step takes minutes it can be spared."),
    ] = True,
    joint_every: Annotated[
        int, typer.Option(help="Steps that share one gradient; they are timed together.")
    ] = 1,
    threads: Annotated[int | None, typer.Option(help="Of the CPU; torch's choice if left out.")] = (
        None
    ),
    seconds: Annotated[float | None, typer.Option(help="Of sound; 2 if left out.")] = None,
    frames: Annotated[int | None, typer.Option(help="Of video; 16 if left out.")] = None,
    height: Annotated[int | None, typer.Option(help="Pixels; 256 if left out.")] = None,
    width: Annotated[int | None, typer.Option(help="Pixels; 256 if left out.")] = None,
    batch: Annotated[int, typer.Option(help="Clips at once.")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    dtype: Annotated[
        str, typer.Option(help="Precision of the base models: float32, float16, bfloat16.")
    ] = ("float32"),
    seed: Annotated[int, typer.Option(help="Of the random weights and the noise.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="JSON file to write or add to; a table goes beside it.")
    ] = None,
) -> None:
    """Time, memory and operations of one guided step: both base models, discriminator, scheduler.

    Networks of a named pair are of full size, with random weights: nothing is downloaded, and clips
    are not made. Two models instead are loaded as they are, beside a new discriminator.
    """
    # the libraries behind take seconds to import, which --help need not wait for
    from mmdisco.cli.progress import progress
    from mmdisco.experiments.benchmark.base_models import BenchmarkConfig
    from mmdisco.experiments.benchmark.command import BenchmarkArgs, carry_out

    setting = BenchmarkConfig(
        seconds, frames, height, width, batch, seed=seed, joint_every=joint_every
    )
    order = BenchmarkArgs(
        pair, setting, dtype, device, repeats, warm_up, threads, out, video_model, audio_model
    )
    said = "nothing is kept" if out is None else f"what was timed so far is kept in {out}"
    with running(f"{said}: {ANEW}") as run, progress("set up") as shown:
        if out is not None:
            run.write(out)
        table = carry_out(order, lambda done: shown.update("rounds", done, repeats))
    typer.echo(table)
