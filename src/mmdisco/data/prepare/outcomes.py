"""What became of each block, on disk: one JSON file with its own checksum."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdisco.errors import UserError
from mmdisco.io.files import json_text, parse_json, read_text, write_text


@dataclass(frozen=True)
class ShardOutcome:
    """What became of a block.

    Attributes:
        part: ``train`` or ``validation``.
        shard: Number of its shard in the part's store; None if no clip was kept.
        clips: A record of each clip, kept or not, in order.
    """

    part: str
    shard: int | None
    clips: tuple[Mapping[str, Any], ...]

    @property
    def kept(self) -> list[Mapping[str, Any]]:
        """The clips that are in the shard, in its order."""
        return [clip for clip in self.clips if clip["kept"]]


class Records:
    """A folder of outcomes.

    Args:
        folder: Made with the first.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, number: int) -> Path:
        """Where the outcome of a block is."""
        return self._folder / f"block-{number:05d}.json"

    def write(self, number: int, outcome: ShardOutcome) -> None:
        """Write one, whole."""
        body = json_text(
            {"part": outcome.part, "shard": outcome.shard, "clips": list(outcome.clips)}
        )
        write_text(self.path(number), f"{_sum(body)}\n{body}\n")

    def read(self, number: int) -> ShardOutcome | None:
        """One that is whole; None if there is none or it has changed since it was written."""
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
