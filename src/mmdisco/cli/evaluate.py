"""``mmdisco evaluate``: figures of a folder of clips, anyone's."""

import os
from pathlib import Path
from typing import Annotated

import typer

from mmdisco.cli.options import AudioTrack, WorkerThreads
from mmdisco.cli.stopping import GO_ON, running


def evaluate(
    generated: Annotated[Path, typer.Argument(help="Folder of clips: mp4, or wav beside mp4.")],
    reference: Annotated[Path | None, typer.Option(help="Folder of real clips.")] = None,
    training: Annotated[
        Path | None, typer.Option(help="Folder of the clips the generator was trained on.")
    ] = None,
    bases: Annotated[
        Path | None, typer.Option(help="Folder of clips of the unguided baseline, measured beside.")
    ] = None,
    diagnostics: Annotated[
        Path | None, typer.Option(help="diagnostics.json of `mmdisco diagnose`, for the report.")
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            help="Of the features, frechet, kernel, neighbours and nearest; of each clip, sync, "
            "av-align, av-align-variants and objects; text with clip: or clap:, cross-modal with "
            "exported:. May be repeated. Usual: frechet, neighbours, nearest and sync.",
            show_default=False,
        ),
    ] = None,
    features: Annotated[
        list[str] | None,
        typer.Option(
            help="What distances are measured in: statistics, objects, clip:MODEL, clap:MODEL, "
            "videomae:MODEL, where MODEL is a folder or a hub id, exported:FILE.json; may be "
            "repeated."
        ),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
    report: Annotated[
        Path | None, typer.Option(help="HTML page to write; the table as Markdown beside it.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="Read only the first seconds.")] = None,
    size: Annotated[str | None, typer.Option(help="HEIGHTxWIDTH to read at, as in 64x64.")] = None,
    fps: Annotated[str | None, typer.Option(help="Read at so many frames a second.")] = None,
    rate: Annotated[int | None, typer.Option(help="Read sound at so many samples a second.")] = (
        None
    ),
    audio_track: AudioTrack = None,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    jobs: Annotated[int, typer.Option(help="Processes that read clips.")] = os.cpu_count() or 1,
    threads: WorkerThreads = 1,
    cache: Annotated[
        Path | None, typer.Option(help="Folder for what was read of clips, to go on from.")
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(help="Read share I of N, as in 0/4, and stop; measure later without this."),
    ] = None,
) -> None:
    """Fidelity, alignment, memorisation and diversity, with intervals and baselines.

    Clips that cannot be read, are silent or of another form are named. What was read of a clip is
    kept: the same command goes on where it was stopped. Under `accelerate launch` every process
    reads its share.
    """
    # the libraries behind take seconds to import, which --help need not wait for
    from mmdisco.cli.progress import progress
    from mmdisco.evaluation.command import EvaluateArgs, carry_out, default_cache

    options = EvaluateArgs(
        generated,
        reference,
        training,
        tuple(metrics or ()),
        tuple(features or ()),
        json,
        report,
        seconds,
        size,
        fps,
        rate,
        seed,
        jobs,
        cache,
        shard,
        bases,
        diagnostics,
        audio_track,
        threads,
    )
    kept = cache or default_cache()
    said = f"what was read of clips is kept in {kept}: {GO_ON}"
    with running(said, threads) as run, progress("clips") as shown:
        run.share(kept)
        run.write(*(path for path in (json, report) if path is not None))
        table = carry_out(options, shown.update)
    typer.echo(table)
