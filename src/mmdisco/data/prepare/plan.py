"""Plan of a preparation, shard by shard, before anything is decoded, and the outcome of each shard.

A shard holds clips of one split up to a maximum number, and can be made again by itself. The plan
is saved beside the shards, so that a resumed run follows the original one; an outcome is one JSON
file with its own checksum.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from mmdisco.data.prepare.sources import SkippedFile
from mmdisco.errors import UserError
from mmdisco.io.files import MOST_LIST_BYTES, json_text, parse_json, read_text, write_text
from mmdisco.io.settings import number
from mmdisco.media.probe import SkipReason

_GAP: Final = Fraction(30)  # seconds without a clip after which a video is opened again


@dataclass(frozen=True)
class ClipGroup:
    """Clips of one video in one split.

    Attributes:
        path: The file.
        name: Name in reports.
        caption: Caption of all the clips.
        group: Key of clips that stay in one split.
        split: ``train`` or ``validation``; None before the split.
        bytes: Size of the file, to notice another file of the same name.
        starts: Start of each clip in seconds.
        audio_caption: Caption of their sound, where it is another.
        lasts: Length of the file in seconds; 0 is unknown.
    """

    path: Path
    name: str
    caption: str
    group: str
    split: str | None
    bytes: int
    starts: tuple[Fraction, ...]
    audio_caption: str | None = None
    lasts: float = 0.0


@dataclass(frozen=True)
class Pass:
    """Clips of a video that are decoded in one pass."""

    clip_group: ClipGroup
    starts: tuple[Fraction, ...]


@dataclass(frozen=True)
class ShardPlan:
    """Plan of one shard.

    Attributes:
        number: Index, from 0.
        split: ``train`` or ``validation``.
        runs: Passes in order.
    """

    number: int
    split: str
    runs: tuple[Pass, ...]

    def __len__(self) -> int:
        return sum(len(run.starts) for run in self.runs)


@dataclass(frozen=True)
class PreparePlan:
    """Plan of a whole source.

    Attributes:
        clip_groups: Clip groups with their splits.
        refused: Files that are skipped as a whole.
        left_out: Number of clips between two splits of one video, which are in neither.
    """

    clip_groups: tuple[ClipGroup, ...]
    refused: tuple[SkippedFile, ...]
    left_out: int = 0

    def blocks(self, size: int) -> list[ShardPlan]:
        """Divide into shards of ``size`` clips, the last one of a split smaller."""
        blocks: list[ShardPlan] = []
        open_runs: dict[str, list[Pass]] = {}
        for clip_group in self.clip_groups:
            split = str(clip_group.split)
            rest = clip_group.starts
            while rest:
                runs = open_runs.setdefault(split, [])
                room = size - sum(len(run.starts) for run in runs)
                runs.extend(Pass(clip_group, starts) for starts in _passes(rest[:room]))
                rest = rest[room:]
                if sum(len(run.starts) for run in runs) == size:
                    blocks.append(ShardPlan(len(blocks), split, tuple(open_runs.pop(split))))
        for split, runs in sorted(open_runs.items()):
            blocks.append(ShardPlan(len(blocks), split, tuple(runs)))
        return blocks

    def write(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Write JSON lines; the first holds the settings and the checksum of the others."""
        lines = [json_text(_group_record(clip_group)) for clip_group in self.clip_groups]
        lines += [
            json_text(
                {"name": one.name, "reason": one.reason.category, "detail": one.reason.detail}
            )
            for one in self.refused
        ]
        head = {"settings": dict(settings), "left_out": self.left_out, "sha256": _sum(lines)}
        write_text(path, "".join(f"{line}\n" for line in (json_text(head), *lines)))

    @staticmethod
    def read(path: Path) -> "tuple[PreparePlan, dict[str, Any]] | None":
        """Read a plan and its settings; None if it is missing, or damaged and must be made again.

        Raises:
            UserError: The file cannot be read, or is no JSON.
        """
        if not path.exists():
            return None
        try:
            head_line, *lines = read_text(path, MOST_LIST_BYTES).rstrip("\n").split("\n")
            head = parse_json(head_line, str(path))
            if head["sha256"] != _sum(lines):
                return None
            records = [parse_json(line, str(path)) for line in lines]
            clip_groups = tuple(_group_of(record) for record in records if "starts" in record)
            refused = tuple(
                SkippedFile(record["name"], SkipReason(record["reason"], record["detail"]))
                for record in records
                if "reason" in record
            )
            return PreparePlan(clip_groups, refused, int(head["left_out"])), dict(head["settings"])
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            return None


def _passes(starts: Sequence[Fraction]) -> Iterator[tuple[Fraction, ...]]:
    begin = 0
    for index in range(1, len(starts)):
        if starts[index] - starts[index - 1] > _GAP:
            yield tuple(starts[begin:index])
            begin = index
    if starts:
        yield tuple(starts[begin:])


def _sum(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _group_record(clip_group: ClipGroup) -> dict[str, Any]:
    starts = [str(start) for start in clip_group.starts]
    return {**asdict(clip_group), "path": str(clip_group.path), "starts": starts}


def _group_of(record: Mapping[str, Any]) -> ClipGroup:
    starts = tuple(number(start) for start in record["starts"])
    fields: dict[str, Any] = {**record, "path": Path(record["path"]), "starts": starts}
    return ClipGroup(**fields)


@dataclass(frozen=True)
class ShardOutcome:
    """Outcome of a planned shard.

    Attributes:
        split: ``train`` or ``validation``.
        shard: Index in the split's store; None if no clip was kept.
        clips: A record of each clip, kept or not, in order.
    """

    split: str
    shard: int | None
    clips: tuple[Mapping[str, Any], ...]

    @property
    def kept(self) -> list[Mapping[str, Any]]:
        """Clips in the shard, in order."""
        return [clip for clip in self.clips if clip["kept"]]

    def write(self, path: Path) -> None:
        """Write the outcome with its checksum, atomically."""
        body = json_text(asdict(self))
        write_text(path, f"{_sum([body])}\n{body}\n")

    @staticmethod
    def read(path: Path) -> "ShardOutcome | None":
        """Read an outcome; None if it is missing or has changed since it was written."""
        if not path.exists():
            return None
        try:
            checksum, _, body = read_text(path).partition("\n")
            body = body.removesuffix("\n")
            if checksum != _sum([body]):
                return None
            record = parse_json(body, str(path))
            return ShardOutcome(record["split"], record["shard"], tuple(record["clips"]))
        except (LookupError, TypeError, UserError):
            return None
