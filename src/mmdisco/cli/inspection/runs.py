"""Folders of a training: what ``mmdisco sample-fakes`` and ``mmdisco train`` made."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mmdisco.cli.inspection.folders import Store, counted
from mmdisco.cli.inspection.kind import FileKind
from mmdisco.data.pair_store import PairStore
from mmdisco.data.prepare.sources import PARTS
from mmdisco.discriminators.hub import KIND, PretrainedDiscriminator
from mmdisco.discriminators.two_tower import AudioVideoDiscriminator
from mmdisco.errors import UserError
from mmdisco.io.files import MOST_LIST_BYTES, parse_json, read_object, read_text
from mmdisco.media.clip import AudioVideo

_SHOWN: Final = (
    "steps",
    "scheduler",
    "cfg_scale",
    "seed",
    "samples_per_clip",
    "max_per_caption",
)


class FakesFolder(FileKind):
    """What ``mmdisco sample-fakes`` made, or is making."""

    def fits(self, path: Path) -> bool:
        """It has their settings."""
        return (path / "fakes.json").is_file()

    def words(self, path: Path) -> list[str]:
        """By which bases and how, and how many there are; every checksum is looked at."""
        record: Mapping[str, Any] = read_object(path / "fakes.json")
        how = ", ".join(f"{name} {record[name]}" for name in _SHOWN if record.get(name) is not None)
        lines = [f"fakes by the bases of {record['preset']}: {how}"]
        for part in PARTS:
            store = PairStore(path / part, "fake")
            if store.shards:
                store.read()
            lines.append(f"{part}: {counted(store)}")
        if not (path / "manifest.jsonl").is_file():
            lines.append("not finished: give mmdisco sample-fakes once more")
        return lines

    def clips(self, path: Path, weights: Path | None) -> Mapping[str, AudioVideo]:
        """The first ones for training, decoded."""
        return Store().clips(path / PARTS[0], weights)


class TrainedFolder(FileKind):
    """What ``mmdisco train`` made, or is making."""

    def fits(self, path: Path) -> bool:
        """It has the configuration of a discriminator, or of its training."""
        return _is_discriminator(path) or (path / "training.yaml").is_file()

    def words(self, path: Path) -> list[str]:
        """For which pair, of what, and how well it tells held-out pairs apart."""
        if not _is_discriminator(path):
            return ["a training that is not finished: give mmdisco train once more", *_stages(path)]
        found = PretrainedDiscriminator.load(path)
        config = found.network.config
        lines = [
            f"a discriminator for {found.preset}: {_numbers(found.network):,} numbers, width "
            f"{config.width}, {type(config.fusion).__name__.removesuffix('Config')}"
        ]
        clips: Mapping[str, Any] | None = found.facts.get("clips")
        if clips is not None:
            lines.append(
                f"trained on {clips['train']} clips with {clips['captions']} different captions "
                f"and {clips['fakes']} fakes; {clips['validation']} clips held out"
            )
        return [*lines, *_scores(found.facts.get("held_out")), *_stages(path)]


def _is_discriminator(path: Path) -> bool:
    if not (path / "config.json").is_file():
        return False
    record = read_object(path / "config.json")
    return record.get("kind") == KIND


def _numbers(network: AudioVideoDiscriminator) -> int:
    return sum(one.numel() for one in network.parameters())


def _scores(measure: Mapping[str, Any] | None) -> list[str]:
    if measure is None:
        return []
    rows = zip(
        measure["angle"],
        measure["against_fake"]["ranking"],
        measure["against_shuffled"]["ranking"],
        strict=True,
    )
    lines = [f"ranking of held-out pairs after {measure['step']} steps, 0.5 tells nothing:"]
    return lines + [
        f"  noise {angle:.2f}: {fake:.3f} against fakes, {shuffled:.3f} against exchanged sounds"
        for angle, fake, shuffled in rows
    ]


def _stages(path: Path) -> list[str]:
    """The last line of each log."""
    lines: list[str] = []
    for name, folder in (
        ("contrastive pretraining", "training/pretraining"),
        ("training", "training"),
    ):
        log = path / folder / "log.jsonl"
        if log.is_file():
            told = read_text(log, MOST_LIST_BYTES).splitlines()
            lines.append(f"{name}: step {_step(log, told[-1]) if told else 0}")
    return lines


def _step(log: Path, line: str) -> int:
    try:
        return int(parse_json(line, str(log))["step"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{log} is damaged: its last line tells of no step") from error
