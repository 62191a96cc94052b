"""``mmdisco inspect``: what a file or a folder holds."""

from pathlib import Path
from typing import Annotated

import typer

from mmdisco.cli.stopping import ANEW, running
from mmdisco.errors import UserError


def inspect(
    path: Annotated[
        Path,
        typer.Argument(
            help="A prepared folder, a store of pairs, a shard, a checkpoint, weights, or a clip."
        ),
    ],
    picture: Annotated[
        Path | None,
        typer.Option(help="PNG to write, of some clips: frames, waveform, spectrogram."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Folder of weights to decode with; default: the one it was made with."),
    ] = None,
) -> None:
    """Describe shapes, counts, statistics and captions; draw clips."""
    # the libraries behind take seconds to import, which --help need not wait for
    from mmdisco.cli.inspect_files import clips_of, describe
    from mmdisco.io.files import understood

    if weights is not None and picture is None:
        raise UserError("--weights are for decoding: give --picture too, or leave them out")
    with running(f"nothing is written: {ANEW}") as run:
        with understood(path):
            lines = describe(path)
        for line in lines:
            typer.echo(line)
        if picture is not None:
            from mmdisco.cli.progress import progress
            from mmdisco.media.plots import draw_clips

            run.write(picture)
            with progress("picture"):
                with understood(path):
                    clips = clips_of(path, weights)
                draw_clips(picture, clips)
            typer.echo(picture)
