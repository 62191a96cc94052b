"""Prepared folders, as fake-pair generation and training read them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mmdisco.data.pair_store import PairStore
from mmdisco.data.prepare.run import KIND
from mmdisco.data.prepare.sources import PARTS
from mmdisco.errors import UserError
from mmdisco.generation.config import SystemConfig
from mmdisco.io.files import MOST_LIST_BYTES, parse_json, read_object, read_text, sha256


@dataclass(frozen=True)
class PreparedClips:
    """Prepared clips with their captions.

    Attributes:
        folder: Folder of the clips.
        options: Preset whose latents they are, and options it was built with.
        captions: Caption of every row, by split.
    """

    folder: Path
    options: SystemConfig
    captions: Mapping[str, list[str]]

    @staticmethod
    def read(folder: Path, weights: Path | None) -> "PreparedClips":
        """Read everything but the latents.

        Args:
            folder: Folder that ``mmdisco prepare`` wrote.
            weights: Folder of weights, which the prepared folder does not name.

        Raises:
            UserError: It is no such folder.
        """
        record: Mapping[str, Any] = read_object(folder / "prepared.json")
        try:
            options = SystemConfig(preset=record["preset"], weights=weights, **record["options"])
        except (LookupError, TypeError, UserError) as error:
            raise UserError(
                f"{folder / 'prepared.json'} names no preset and options: prepare the clips again"
            ) from error
        return PreparedClips(folder, options, read_manifest(folder))

    @property
    def preset(self) -> str:
        """Name of the preset whose latents they are."""
        return self.options.preset

    @property
    def fingerprint(self) -> str:
        """Return a checksum that changes with the clips."""
        return sha256(self.folder / "manifest.jsonl")

    def store(self, part: str) -> PairStore:
        """Return the latents of a split.

        Raises:
            UserError: The manifest is of other clips.
        """
        return store_of(self.folder, part, "real", self.captions[part])


def store_of(folder: Path, part: str, kind: str, captions: list[str]) -> PairStore:
    """Open the store of a split, and check that it is as long as its captions.

    Raises:
        UserError: It is not.
    """
    store = PairStore(folder / part, kind)
    if len(store) != len(captions):
        raise UserError(
            f"{folder / part} holds {len(store)} pairs, its manifest lists {len(captions)}: "
            "make the folder again"
        )
    return store


def read_manifest(folder: Path) -> dict[str, list[str]]:
    """Read the caption of every row, by split.

    Raises:
        UserError: There is no manifest, or a line of it lacks a field.
    """
    path = folder / "manifest.jsonl"
    lines = read_text(path, MOST_LIST_BYTES).split("\n")
    if not lines[-1]:
        lines.pop()
    rows: dict[str, dict[int, str]] = {part: {} for part in PARTS}
    for number, line in enumerate(lines, start=1):
        try:
            record = parse_json(line, f"{path}, line {number}")
            rows[record["part"]][int(record["index"])] = str(record["caption"] or "")
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path}, line {number} describes no clip: make the folder again"
            ) from error
    captions: dict[str, list[str]] = {}
    for part, own in rows.items():
        if sorted(own) != list(range(len(own))):
            raise UserError(f"{path} leaves out rows of {part}: make the folder again")
        captions[part] = [own[index] for index in range(len(own))]
    return captions


@dataclass(frozen=True)
class PreparedFolder:
    """A folder that ``mmdisco prepare`` has finished.

    Attributes:
        folder: The folder.

    Raises:
        UserError: It is unfinished or damaged; raised at the first use of the file concerned.
    """

    folder: Path

    @cached_property
    def about(self) -> dict[str, Any]:
        """Contents of ``prepared.json``."""
        path = self.folder / "prepared.json"
        if not path.is_file():
            raise UserError(
                f"{self.folder} is no prepared folder, or not finished: run mmdisco prepare again"
            )
        return read_object(path)

    def store(self, part: str) -> PairStore:
        """Return the pairs of ``train`` or ``validation``; may be empty."""
        return PairStore(self.folder / part, KIND)

    @cached_property
    def manifest(self) -> list[dict[str, Any]]:
        """Return a record of every clip; those of one split are in the order of its store."""
        path = self.folder / "manifest.jsonl"
        if not path.is_file() or sha256(path) != self.about.get("manifest_sha256"):
            raise UserError(f"{path} is damaged or not there: run mmdisco prepare again")
        lines = read_text(path, MOST_LIST_BYTES).split("\n")
        return [parse_json(line, str(path)) for line in lines if line]
