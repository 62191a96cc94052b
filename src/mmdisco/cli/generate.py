"""``mmdisco generate``: clips from prompts, sound for a video, video for a sound."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mmdisco.cli.options import Threads, options_of
from mmdisco.cli.stopping import ANEW, running


@options_of("mmdisco.generation.config:GenerateConfig")
def generate(
    prompts: Annotated[
        Path | None,
        typer.Option(
            help="More prompts: a .jsonl or .csv file whose lines may set other options of a clip."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="YAML file of options; those of the command line replace its own."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Clip to write (.mp4, .mov, .mkv); named after the prompt if left out."),
    ] = None,
    wav: Annotated[bool, typer.Option("--wav", help="Write the sound by itself too.")] = False,
    threads: Threads = None,
    from_metadata: Annotated[
        Path | None,
        typer.Option(
            help="Make the clip beside this .json file again; a line says what differs today.",
            rich_help_panel="Reproduction",
        ),
    ] = None,
    **options: Any,
) -> None:
    """Make clips with sound: from prompts, or one side for a given other.

    Beside each clip lie a picture of it (.png) and all that makes it again (.json).
    """
    from mmdisco.cli.generate_plan import plan, plan_again

    if from_metadata is None:
        planned = plan(options, prompts, config, out, wav=wav)
    else:
        planned = plan_again(from_metadata, options, [prompts, config], out, wav=wav)
    with running(f"no clip is whole yet: {ANEW}", threads) as run:
        # the libraries behind a clip take seconds to import, which a mistake need not wait for
        from mmdisco.cli.generate_clips import execute

        for path in execute(planned, run):
            typer.echo(path)
