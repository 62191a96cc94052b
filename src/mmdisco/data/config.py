"""Configurations of ``mmdisco prepare`` and ``sample-fakes``. Imports neither torch nor a model."""

from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field

from mmdisco.generation.config import CLIPS, MODELS, PIPELINES, SchedulerName, SystemConfig
from mmdisco.io.settings import EXACT, Count, Panel, Positional, Settings, Shard

LAYOUT: Final = Panel("Layout")
VALIDATION: Final = 0.1  # share of the groups, by default
SECONDS: Final = 1_000_000  # more is no length of a film

Seconds = Annotated[Fraction | None, Field(gt=0, lt=SECONDS), EXACT, LAYOUT]


class PrepareConfig(SystemConfig):
    """Configuration of a preparation: source, layout of clips and splits, and the system.

    Raises:
        UserError: A value is out of its range or of another kind.
    """

    source: Annotated[Path, Positional()]
    """A folder of clips, or one film."""
    out: Path
    """Folder of the result."""
    layout: Annotated[Literal["clips", "film", "vggsound", "landscape", "aist"] | None, LAYOUT] = (
        None
    )
    """clips, film, vggsound, landscape or aist; by what SOURCE is if left out."""
    captions: Annotated[str, LAYOUT] = "none"
    """A .csv or .jsonl file (path, caption, start, end), vggsound.csv, or one of: folders, none."""
    group_by: Annotated[Literal["file", "folder", "name"], LAYOUT] = "file"
    """Group that is never split between training and validation: file, folder, or name (without its
    last number)."""
    validation: Annotated[float | None, Field(ge=0, lt=1), LAYOUT] = None
    """Share of the groups for validation; 0.1."""
    shots: Annotated[bool, LAYOUT] = False
    """No clip across a cut."""
    clip_stride: Seconds = None
    """Seconds from one clip's beginning to the next; shorter than a clip, they overlap. A clip's
    length if left out."""
    split_block: Seconds = None
    """Seconds of a film that is alone that go to one split, training or validation; 60."""
    clips_per_file: Annotated[Count | None, LAYOUT] = None
    """Maximum number of clips of a file or captioned span, evenly spaced; all if left out."""
    audio_track: Annotated[int | None, Field(ge=1, le=1000), CLIPS] = None
    """Number of the audio track to read, from 1; the one that players play if left out."""
    shard_size: Count = 64
    """Clips of a shard; a stop loses one at most."""
    batch: Count = 8
    """Clips that are encoded at once."""
    reconstructions: Annotated[int, Field(ge=0, le=1000)] = 16
    """Clips that are decoded again to measure how much of them the models keep; 0 saves the time,
    that of encoding two or three times as many."""

    @property
    def chosen_layout(self) -> str:
        """Layout as given, else by what the source is."""
        return self.layout or ("clips" if self.source.is_dir() else "film")

    @property
    def share(self) -> float:
        """Share of the groups for validation."""
        return VALIDATION if self.validation is None else self.validation

    def arguments(self) -> dict[str, Any]:
        """Return what must not change between a run and its resumption, for JSON."""
        free = {*SystemConfig.model_fields, "out", "reconstructions"}
        own = [name for name in type(self).model_fields if name not in free]
        values = {name: getattr(self, name) for name in own}
        return {
            **{k: float(one) if isinstance(one, Fraction) else one for k, one in values.items()},
            "source": str(self.source.absolute()),
            "layout": self.chosen_layout,
            "validation": self.share,
        }


class ClipModels(Settings):
    """Where the models of prepared clips lie, if not where the clips' record says."""

    weights: Annotated[Path | None, MODELS] = None
    """Folder of weights; MMDISCO_WEIGHTS or ~/.cache/mmdisco otherwise. For embedded, the folder of
    another pair."""
    video_model: Annotated[str | None, MODELS] = None
    """Video pipeline of the clips, where its folder lies elsewhere now."""
    audio_model: Annotated[str | None, MODELS] = None
    """Audio pipeline of the clips, where its folder lies elsewhere now."""
    joint_model: Annotated[str | None, MODELS] = None
    """Pipeline of video with sound of the clips, where its folder lies elsewhere now."""

    @property
    def pipelines(self) -> dict[str, str]:
        """Options that name the models elsewhere."""
        return {name: str(getattr(self, name)) for name in PIPELINES if getattr(self, name)}


class FakesConfig(ClipModels):
    """Configuration of fake pairs.

    Raises:
        UserError: A value is out of its range or of another kind.
    """

    model_config = ConfigDict(strict=False)

    prepared: Annotated[Path, Positional()]
    """Folder that `mmdisco prepare` made."""
    out: Path
    """Folder of the fakes."""
    preset: str | None = None
    """Preset of the clips, which is used if left out."""
    samples_per_clip: int = 1
    """Fakes of each clip's caption."""
    max_per_caption: int | None = None
    """Maximum number of fakes of one caption; no limit if left out."""
    shard_size: int = 32
    """Fakes that are made in one batch."""
    seed: int = 0
    """Seed of the noise."""
    steps: Annotated[int | None, Field(ge=1, le=1000)] = None
    """Sampling steps; the preset's if left out."""
    scheduler: SchedulerName | None = None
    """Scheduler; an unknown name lists them."""
    cfg_scale: float | None = None
    """Scale of classifier-free guidance; the preset's if left out."""
    device: Annotated[str | None, MODELS] = None
    """Device of the networks, by torch's name: cpu (usual), cuda, …"""
    shard: Shard = None
    """Share I/N of the work, as in 0/4: every N-th shard from I on. Under `accelerate launch` this
    is set already."""
