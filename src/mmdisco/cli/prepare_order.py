"""What ``mmdisco prepare`` does with its arguments."""

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from mmdisco.cli.progress import progress
from mmdisco.data.prepare.encode import ShardEncoder
from mmdisco.data.prepare.layouts import (
    ClipList,
    Grouping,
    OneFilm,
    VGGSound,
    aist,
    by_file,
    by_folder,
    by_stem,
    landscape,
)
from mmdisco.data.prepare.planning import SHARE, SplitConfig
from mmdisco.data.prepare.report import summary_lines
from mmdisco.data.prepare.run import PrepareConfig, prepare
from mmdisco.data.prepare.sources import Captions, FolderNames, NoCaptions, Source, read_captions
from mmdisco.errors import UserError
from mmdisco.generation.config import SystemConfig
from mmdisco.generation.presets.registry import system_of
from mmdisco.io.files import expect_writable, read_object

_FINEST: Final = 1_000_000
_GROUPINGS: Final[dict[str, Grouping]] = {
    "file": by_file,
    "folder": by_folder,
    "name": by_stem,
}


@dataclass(frozen=True)
class PrepareArgs:
    """The arguments, as given, apart from those that choose a pair."""

    source: Path
    out: Path
    layout: str | None = None
    captions: str = "none"
    group_by: str = "file"
    validation: float | None = None
    shots: bool = False
    hop: float | None = None
    stretch: float | None = None
    clips_per_file: int | None = None
    audio_track: int | None = None
    shard: int = 64
    batch: int = 8


def execute(wish: PrepareArgs, config: SystemConfig) -> Iterator[str]:
    """Prepare, with a progress bar.

    Yields:
        What to print: counts, then paths.

    Raises:
        UserError: An argument is out of its range, or what ``prepare`` raises.
    """
    order = order_of(wish, config)
    _show(order)
    yield from summary_lines(read_object(wish.out / "report.json"))
    yield str(wish.out / "report.html")
    yield str(wish.out / "prepared.json")


def order_of(wish: PrepareArgs, config: SystemConfig) -> PrepareConfig:
    """The arguments checked, and names as what they stand for.

    Raises:
        UserError: One is out of its range or names nothing.
    """
    if wish.validation is not None and not 0 <= wish.validation < 1:
        raise UserError(f"--validation {wish.validation:g}: give a share from 0 to below 1")
    counts = {
        "--shard-size": wish.shard,
        "--batch": wish.batch,
        "--clips-per-file": wish.clips_per_file,
    }
    counts["--audio-track"] = wish.audio_track
    for name, value in counts.items():
        if value is not None and value < 1:
            raise UserError(f"{name} {value}: give at least 1")
    if not wish.source.exists():
        raise UserError(f"{wish.source} is not there: give a folder of clips, or a film")
    layout = wish.layout or ("clips" if wish.source.is_dir() else "film")
    source = _source(wish, layout)
    pair = system_of(config)
    expect_writable(wish.out / "prepared.json")
    about: dict[str, Any] = {
        "preset": config.preset,
        "options": config.build_options(),
        "weights": None if config.weights is None else str(config.weights),
        "weight_hashes": dict(pair.weight_hashes()),
    }
    arguments: dict[str, Any] = {
        "source": str(wish.source.absolute()),
        "layout": layout,
        "captions": wish.captions,
        "group_by": wish.group_by,
        "validation": SHARE if wish.validation is None else wish.validation,
        "shots": wish.shots,
        "hop": wish.hop,
        "stretch": wish.stretch,
        "clips_per_file": wish.clips_per_file,
        "audio_track": wish.audio_track,
        "shard": wish.shard,
        "batch": wish.batch,
    }
    rule = SplitConfig(
        wish.validation,
        wish.clips_per_file,
        wish.shots,
        _fraction("seconds a hop", wish.hop),
        _fraction("seconds a stretch", wish.stretch),
        wish.audio_track,
    )
    encoder = ShardEncoder(pair)
    return PrepareConfig(source, encoder, wish.out, rule, wish.shard, wish.batch, about, arguments)


def _source(wish: PrepareArgs, layout: str) -> Source:
    builders: dict[str, Callable[[PrepareArgs], Source]] = {
        "clips": lambda w: ClipList(w.source, _captions(w), _grouping(w)),
        "film": lambda w: OneFilm(w.source, _captions(w)),
        "vggsound": lambda w: VGGSound(w.source, _table(w)),
        "landscape": lambda w: landscape(w.source, _captions(w)),
        "aist": lambda w: aist(w.source, _captions(w)),
    }
    if layout not in builders:
        raise UserError(f"unknown layout {layout!r}: choose one of {', '.join(builders)}")
    if (layout == "film") == wish.source.is_dir():
        wanted = "a file" if layout == "film" else "a folder"
        raise UserError(f"{wish.source}: the layout {layout} wants {wanted}")
    if wish.group_by != "file" and layout != "clips":
        raise UserError(f"the layout {layout} groups films by itself: leave --group-by out")
    return builders[layout](wish)


def _captions(wish: PrepareArgs) -> Captions:
    named: dict[str, Callable[[], Captions]] = {"none": NoCaptions, "folders": FolderNames}
    if wish.captions in named:
        return named[wish.captions]()
    listed = read_captions(Path(wish.captions))
    if listed.unread:
        sys.stderr.write(
            f"mmdisco: of {wish.captions} these columns are not read: {', '.join(listed.unread)}\n"
        )
    return listed


def _grouping(wish: PrepareArgs) -> Grouping:
    if wish.group_by not in _GROUPINGS:
        raise UserError(f"unknown group {wish.group_by!r}: choose one of {', '.join(_GROUPINGS)}")
    return _GROUPINGS[wish.group_by]


def _table(wish: PrepareArgs) -> Path:
    if wish.captions in ("none", "folders"):
        raise UserError("the layout vggsound wants its table: give --captions vggsound.csv")
    return Path(wish.captions)


def _show(order: PrepareConfig) -> None:
    with progress("looking at files") as shown:
        for step in prepare(order):
            if step.notice:
                sys.stderr.write(f"mmdisco: {step.notice}\n")
            said = " ".join(step.doing.encode("utf-8", "replace").decode().split())[-40:]
            doing = "clips" if step.total else "looking at files"
            shown.update(doing, step.done, step.total or None, said)


def _fraction(name: str, value: float | None) -> Fraction | None:
    """Return a number as given, exact to a millionth; None stays.

    Raises:
        UserError: It is not above 0, or is in the millions.
    """
    if value is None:
        return None
    if not math.isfinite(value) or not 0 < value < _FINEST:
        raise UserError(f"{value:g} {name}: give more than 0, and not millions")
    return Fraction(value).limit_denominator(_FINEST)
