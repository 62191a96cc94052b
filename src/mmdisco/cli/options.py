"""Options that several commands share: which models, what form of clips, whose folders."""

from pathlib import Path
from typing import Annotated, Final

import typer

MODELS: Final = "Models"
CLIPS: Final = "Clips"

Weights = Annotated[
    Path | None,
    typer.Option(
        help="Folder of weights; MMDISCO_WEIGHTS or ~/.cache/mmdisco otherwise. For embedded, the "
        "folder of another pair.",
        rich_help_panel=MODELS,
    ),
]
Seconds = Annotated[float | None, typer.Option(help="Length of a clip.", rich_help_panel=CLIPS)]
Size = Annotated[str | None, typer.Option(help="HEIGHTxWIDTH in pixels.", rich_help_panel=CLIPS)]
Fps = Annotated[float | None, typer.Option(help="Frames a second.", rich_help_panel=CLIPS)]
AudioTrack = Annotated[
    int | None,
    typer.Option(
        help="Number of the sound track to read, from 1; the one that players play if left out.",
        rich_help_panel=CLIPS,
    ),
]
Dtype = Annotated[
    str | None,
    typer.Option(help="float32 (usual), float16 or bfloat16.", rich_help_panel=MODELS),
]
Device = Annotated[str | None, typer.Option(help="cpu (usual), cuda, …", rich_help_panel=MODELS)]
Data = Annotated[Path | None, typer.Option(help="Folder that `mmdisco prepare` made.")]
FakesOfData = Annotated[Path | None, typer.Option(help="Folder that `mmdisco sample-fakes` made.")]
Threads = Annotated[
    int | None,
    typer.Option(
        help="CPU threads of the arithmetic; torch's choice, a thread for each core, if left out. "
        "1 where several runs share a machine."
    ),
]
WorkerThreads = Annotated[
    int, typer.Option(help="CPU threads of each process; other numbers round otherwise.")
]
