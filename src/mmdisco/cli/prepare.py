"""``mmdisco prepare``: from films to what a discriminator is trained on."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mmdisco.cli.options import AudioTrack, Threads, options_of
from mmdisco.cli.stopping import GO_ON, running

LAYOUT = "Layout"


@options_of("SystemConfig", "preset", "seconds", "size", "fps", "weights", "dtype", "device")
def prepare(
    source: Annotated[Path, typer.Argument(help="A folder of clips, or one film.")],
    out: Annotated[Path, typer.Option(help="Folder of the result.")],
    layout: Annotated[
        str | None,
        typer.Option(
            help="clips, film, vggsound, landscape or aist; by what SOURCE is if left out.",
            rich_help_panel=LAYOUT,
        ),
    ] = None,
    captions: Annotated[
        str,
        typer.Option(
            help="A .csv or .jsonl file (path, caption, start, end), vggsound.csv, or one of: "
            "folders, none.",
            rich_help_panel=LAYOUT,
        ),
    ] = "none",
    group_by: Annotated[
        str,
        typer.Option(
            help="What is never split between training and validation: file, folder, or name "
            "(without its last number).",
            rich_help_panel=LAYOUT,
        ),
    ] = "file",
    validation: Annotated[
        float | None,
        typer.Option(help="Share of the groups for validation; 0.1.", rich_help_panel=LAYOUT),
    ] = None,
    shots: Annotated[
        bool,
        typer.Option("--shots", help="No clip across a cut.", rich_help_panel=LAYOUT),
    ] = False,
    clip_stride: Annotated[
        float | None,
        typer.Option(
            help="Seconds from one clip's beginning to the next; shorter than a clip, they "
            "overlap. A clip's length if left out.",
            rich_help_panel=LAYOUT,
        ),
    ] = None,
    split_block: Annotated[
        float | None,
        typer.Option(
            help="Seconds of a film that is alone that go to one part, training or validation; 60.",
            rich_help_panel=LAYOUT,
        ),
    ] = None,
    clips_per_file: Annotated[
        int | None, typer.Option(help="At most; all if left out.", rich_help_panel=LAYOUT)
    ] = None,
    audio_track: AudioTrack = None,
    threads: Threads = None,
    shard_size: Annotated[
        int, typer.Option(help="Clips of a shard; a stop loses one at most.")
    ] = 64,
    batch: Annotated[int, typer.Option(help="Clips that are encoded at once.")] = 8,
    **options: Any,
) -> None:
    """Decode, judge and encode films: shards, manifest, report, split for validation.

    The same command goes on where it was stopped, and makes again what was damaged.
    """
    # the libraries behind take seconds to import, which --help need not wait for
    from mmdisco.cli.config_options import given
    from mmdisco.cli.prepare_order import PrepareArgs, execute
    from mmdisco.generation.config import SystemConfig

    wish = PrepareArgs(
        source=source,
        out=out,
        layout=layout,
        captions=captions,
        group_by=group_by,
        validation=validation,
        shots=shots,
        hop=clip_stride,
        stretch=split_block,
        clips_per_file=clips_per_file,
        audio_track=audio_track,
        shard=shard_size,
        batch=batch,
    )
    with running(f"finished shards are kept in {out}: {GO_ON}", threads) as run:
        config = SystemConfig(**given(options))
        run.work_in(out)
        for line in execute(wish, config):
            typer.echo(line)
