"""Outcome of each shard on disk: one JSON file with its own checksum."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmdisco.errors import UserError
from mmdisco.io.files import json_text, parse_json, read_text, write_text


@dataclass(frozen=True)
class ShardOutcome:
    """Outcome of a planned shard.

    Attributes:
        part: ``train`` or ``validation``.
        shard: Index in the split's store; None if no clip was kept.
        clips: A record of each clip, kept or not, in order.
    """

    part: str
    shard: int | None
    clips: tuple[Mapping[str, Any], ...]

    @property
    def kept(self) -> list[Mapping[str, Any]]:
        """Clips in the shard, in order."""
        return [clip for clip in self.clips if clip["kept"]]


class Records:
    """Folder of outcomes.

    Args:
        folder: The folder, made with the first outcome.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, number: int) -> Path:
        """Return the file of a shard's outcome."""
        return self._folder / f"block-{number:05d}.json"

    def write(self, number: int, outcome: ShardOutcome) -> None:
        """Write an outcome atomically."""
        body = json_text(asdict(outcome))
        write_text(self.path(number), f"{_sum(body)}\n{body}\n")

    def read(self, number: int) -> ShardOutcome | None:
        """Read an outcome; None if it is missing or has changed since it was written."""
        path = self.path(number)
        if not path.exists():
            return None
        try:
            checksum, _, body = read_text(path).partition("\n")
            body = body.removesuffix("\n")
            if checksum != _sum(body):
                return None
            record = parse_json(body, str(path))
            return ShardOutcome(record["part"], record["shard"], tuple(record["clips"]))
        except (LookupError, TypeError, UserError):
            return None


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
