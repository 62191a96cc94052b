"""Folders of ``mmdisco prepare``, as fake-pair generation, training and inspection read them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mmdisco.core.av import AV
from mmdisco.data.pair_store import PairStore
from mmdisco.data.prepare.sources import SPLITS
from mmdisco.errors import UserError
from mmdisco.generation.config import SystemConfig
from mmdisco.generation.system import JointSystem
from mmdisco.io.files import MOST_LIST_BYTES, parse_json, read_object, read_text, sha256


@dataclass(frozen=True)
class PreparedFolder:
    """A finished folder of ``mmdisco prepare``; its files are read at their first use.

    Attributes:
        folder: The folder.
        weights: Folder of weights of the preset, which the prepared folder does not name.
        pipelines: Options of ``PIPELINES``, where the models lie elsewhere than the folder says.

    Raises:
        UserError: It is unfinished or damaged; raised at the first use of the file concerned.
    """

    folder: Path
    weights: Path | None = None
    pipelines: Mapping[str, str] = field(default_factory=dict[str, str])

    @cached_property
    def about(self) -> dict[str, Any]:
        """Contents of ``prepared.json``."""
        path = self.folder / "prepared.json"
        if not path.is_file():
            raise UserError(
                f"{self.folder} is no prepared folder, or not finished: run mmdisco prepare again"
            )
        return read_object(path)

    @cached_property
    def options(self) -> SystemConfig:
        """Preset whose latents they are, and options it was built with."""
        about = self.about
        try:
            then: dict[str, Any] = about["options"]
            own = SystemConfig(preset=about["preset"], weights=self.weights, **then)
            others = [name for name in self.pipelines if name not in then]
            moved = {} if others else {**then, **self.pipelines}
        except (LookupError, TypeError, UserError) as error:
            raise UserError(
                f"{self.folder / 'prepared.json'} names no preset and options: prepare the clips "
                "again"
            ) from error
        if others:
            names = " and ".join(f"--{name.replace('_', '-')}" for name in others)
            raise UserError(f"{self.folder} was prepared for {own.title}: leave {names} out")
        return own.updated(moved) if self.pipelines else own

    @cached_property
    def manifest(self) -> dict[str, list[dict[str, Any]]]:
        """Record of every clip by split, in the order of its store."""
        _ = self.fingerprint  # verifies the file
        return read_manifest(self.folder)

    @cached_property
    def captions(self) -> dict[str, list[str]]:
        """Caption of every clip by split, that of the sound with it where it is another."""
        return captions_of(self.manifest)

    def texts(self, split: str) -> AV[list[str]]:
        """Return the captions of a split by side."""
        video = [str(record["caption"] or "") for record in self.manifest[split]]
        sounds = (record.get("audio_caption") for record in self.manifest[split])
        return AV(
            [one if own is None else str(own) for one, own in zip(video, sounds, strict=True)],
            video,
        )

    @property
    def preset(self) -> str:
        """Name of the preset whose latents they are, or of the two models."""
        return self.options.title

    def expect_models(self, pair: JointSystem) -> None:
        """Check that two models are those that the clips were encoded by.

        Raises:
            UserError: Their weights are others.
        """
        for side, then in self.about.get("models", {}).items():
            now = pair.describe().get(side)
            if now is not None and now["sha256"] != then["sha256"]:
                raise UserError(
                    f"{self.folder} was prepared with other weights than those of {now['model']}: "
                    f"give --{side}-model {then['model']}, or prepare the clips again"
                )

    @cached_property
    def fingerprint(self) -> str:
        """Checksum of the manifest, which changes with the clips."""
        path, listed = self.folder / "manifest.jsonl", self.about.get("manifest_sha256")
        if not path.is_file() or sha256(path) != listed:
            raise UserError(f"{path} is damaged or not there: run mmdisco prepare again")
        return str(listed)

    def store(self, split: str) -> PairStore:
        """Return the latents of a split, which may be none."""
        return store_of(self.folder, split, "real", len(self.manifest[split]))


def store_of(folder: Path, split: str, kind: str, count: int) -> PairStore:
    """Open the store of a split, and check that it holds as many pairs as the manifest lists.

    Raises:
        UserError: It does not.
    """
    store = PairStore(folder / split, kind)
    if len(store) != count:
        raise UserError(
            f"{folder / split} holds {len(store)} pairs, its manifest lists {count}: "
            "make the folder again"
        )
    return store


def read_manifest(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Read the record of every row of a folder of stores, by split.

    Raises:
        UserError: There is no manifest, or a line of it lacks a field.
    """
    path = folder / "manifest.jsonl"
    lines = read_text(path, MOST_LIST_BYTES).split("\n")
    if not lines[-1]:
        lines.pop()
    rows: dict[str, dict[int, dict[str, Any]]] = {split: {} for split in SPLITS}
    for number, line in enumerate(lines, start=1):
        try:
            record = parse_json(line, f"{path}, line {number}")
            rows[record["split"]][int(record["index"])] = {"caption": None, **record}
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path}, line {number} describes no clip: make the folder again"
            ) from error
    for split, own in rows.items():
        if sorted(own) != list(range(len(own))):
            raise UserError(f"{path} leaves out rows of {split}: make the folder again")
    return {split: [own[index] for index in range(len(own))] for split, own in rows.items()}


def captions_of(manifest: Mapping[str, list[dict[str, Any]]]) -> dict[str, list[str]]:
    """Return the captions of a manifest by split, that of a sound with it where it is another."""
    return {split: list(map(_caption, own)) for split, own in manifest.items()}


def _caption(record: Mapping[str, Any]) -> str:
    video, sound = str(record["caption"] or ""), record.get("audio_caption")
    return video if sound is None else f"{video} (sound: {sound})"
