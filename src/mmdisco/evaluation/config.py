"""Configuration of an evaluation. Imports neither torch nor a network."""

import os
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import ConfigDict, Field, model_validator

from mmdisco.errors import UserError
from mmdisco.io.settings import (
    EXACT,
    HEIGHT_AND_WIDTH,
    Count,
    Named,
    Positional,
    Settings,
    Shard,
    Side,
)

if TYPE_CHECKING:
    from mmdisco.media.read import ReadSpec

METRICS: Final = ("frechet", "neighbours", "nearest", "sync")
FEATURES: Final = ("statistics",)
MOST: Final = 1_000_000

Rate = Annotated[Fraction | None, Field(gt=0, lt=MOST), EXACT]


class EvaluationConfig(Settings):
    """Configuration of an evaluation: folders, metrics, and how clips are read.

    Raises:
        UserError: A value is out of its range or of another kind, or has no effect.
    """

    model_config = ConfigDict(strict=False)

    generated: Annotated[Path, Positional()]
    """Folder of clips: mp4, or wav beside mp4."""
    reference: Path | None = None
    """Folder of real clips."""
    training: Path | None = None
    """Folder of the clips the generator was trained on."""
    bases: Path | None = None
    """Folder of clips of the unguided baseline, measured beside."""
    diagnostics: Path | None = None
    """diagnostics.json of `mmdisco diagnose`, for the report."""
    metrics: tuple[str, ...] = METRICS
    """Of the features, frechet, kernel, neighbours and nearest; of each clip, sync, av-align,
    av-align-variants and objects; text with clip: or clap:, cross-modal with exported:. May be
    repeated. Usual: frechet, neighbours, nearest and sync."""
    features: tuple[str, ...] = FEATURES
    """What distances are measured in: statistics, objects, clip:MODEL, clap:MODEL, videomae:MODEL,
    where MODEL is a folder or a hub id, exported:FILE.json; may be repeated."""
    json_file: Annotated[Path | None, Named("--json")] = None
    """JSON file to write."""
    report: Path | None = None
    """HTML page to write; the table as Markdown beside it."""
    seconds: Rate = None
    """Read only the first seconds."""
    size: Annotated[tuple[Side, Side] | None, HEIGHT_AND_WIDTH] = None
    """HEIGHTxWIDTH to read at, as in 64x64."""
    fps: Rate = None
    """Read at so many frames a second."""
    rate: Annotated[int | None, Field(gt=0, lt=MOST)] = None
    """Read sound at so many samples a second."""
    audio_track: Count | None = None
    """Number of the audio track to read, from 1; the one that players play if left out."""
    seed: int = 0
    """Seed of everything that is drawn."""
    jobs: Count = os.cpu_count() or 1
    """Processes that read clips."""
    threads: Count = 1
    """CPU threads of each process; other numbers round otherwise."""
    cache: Path | None = None
    """Folder for what was read of clips, to go on from."""
    shard: Shard = None
    """Read share I of N, as in 0/4, and stop; measure later without this."""

    @model_validator(mode="after")
    def _check_effect(self) -> "EvaluationConfig":
        if self.diagnostics is not None and self.report is None:
            raise UserError("--diagnostics is for the report: give --report too, or leave it out")
        if self.shard is not None and (self.json_file or self.report):
            raise UserError(
                "--shard measures nothing: leave --json and --report out until all is read"
            )
        return self

    @property
    def folders(self) -> dict[str, Path]:
        """Folders of clips by their role."""
        from mmdisco.evaluation.metrics.result import UNGUIDED

        named = {
            "generated": self.generated,
            UNGUIDED: self.bases,
            "reference": self.reference,
            "training": self.training,
        }
        return {name: path for name, path in named.items() if path is not None}

    @property
    def cache_dir(self) -> Path:
        """Folder of cached features: as given, else in the user's cache."""
        named = os.environ.get("MMDISCO_CACHE")
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return self.cache or (Path(named) if named else Path(base) / "mmdisco") / "clips"

    @property
    def selection(self) -> "ReadSpec":
        """Length, rates and size that clips are converted to."""
        from mmdisco.media.read import ReadSpec

        return ReadSpec(
            seconds=self.seconds,
            fps=self.fps,
            size=self.size,
            sample_rate=self.rate,
            audio_track=self.audio_track,
        )
