"""A prepared folder, as those that use it see it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mmdisco.errors import UserError
from mmdisco.files import MOST_LIST_BYTES, parse_json, read_object, read_text, sha256
from mmdisco.prepare.run import KIND
from mmdisco.training.store import PairStore


@dataclass(frozen=True)
class Prepared:
    """A folder that ``mmdisco prepare`` has finished.

    Attributes:
        folder: Where it is.

    Raises:
        UserError: It is not finished, or damaged; at the first use of what is concerned.
    """

    folder: Path

    @cached_property
    def about(self) -> dict[str, Any]:
        """``prepared.json``."""
        path = self.folder / "prepared.json"
        if not path.is_file():
            raise UserError(
                f"{self.folder} is no prepared folder, or not finished: give mmdisco prepare once "
                "more"
            )
        return read_object(path)

    def store(self, part: str) -> PairStore:
        """The pairs of ``train`` or ``validation``; may be empty."""
        return PairStore(self.folder / part, KIND)

    @cached_property
    def manifest(self) -> list[dict[str, Any]]:
        """A record of every clip; those of one part are in the order of its store."""
        path = self.folder / "manifest.jsonl"
        if not path.is_file() or sha256(path) != self.about.get("manifest_sha256"):
            raise UserError(f"{path} is damaged or not there: give mmdisco prepare once more")
        lines = read_text(path, MOST_LIST_BYTES).split("\n")
        return [parse_json(line, str(path)) for line in lines if line]
