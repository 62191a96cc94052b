"""Inputs of a training, checked: prepared clips, and the fake pairs made of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdisco.core.av import AV
from mmdisco.core.denoiser import Conditioning
from mmdisco.core.pairs import PairSource
from mmdisco.data.fake_pairs import base_weight_hashes
from mmdisco.data.pair_store import PairStore
from mmdisco.data.pairing import MixedPairs, RecombinedWithinCaption
from mmdisco.data.prepared import PreparedClips, read_manifest, store_of
from mmdisco.errors import UserError
from mmdisco.generation.config import SystemConfig
from mmdisco.generation.presets.registry import system_of
from mmdisco.generation.system import JointSystem
from mmdisco.io.files import read_object
from mmdisco.training.config import ContrastiveConfig, NegativesConfig, TrainingConfig
from mmdisco.training.contrastive import CaptionGroups


@dataclass(frozen=True)
class TrainingData:
    """Inputs of a training.

    Attributes:
        clips: Real clips.
        made: Contents of ``fakes.json``.
        captions: Captions of the fakes, by split.
        folder: Folder of the fakes.
    """

    clips: PreparedClips
    made: Mapping[str, Any]
    captions: Mapping[str, list[str]]
    folder: Path

    @staticmethod
    def read(course: TrainingConfig) -> "TrainingData":
        """Read everything but latents.

        Raises:
            UserError: A file is missing, unfinished, or made of other clips.
        """
        clips = PreparedClips.read(course.data, course.weights)
        made = read_object(course.fakes / "fakes.json")
        if not (course.fakes / "manifest.jsonl").exists():
            raise UserError(
                f"{course.fakes} is not finished: run `mmdisco sample-fakes` again first"
            )
        if made.get("clips") != clips.fingerprint:
            raise UserError(
                f"{course.fakes} was made of other clips than {course.data}: run `mmdisco "
                f"sample-fakes` "
                "for these"
            )
        if not clips.captions["train"]:
            raise UserError(f"{course.data} has no clips to train on: prepare more")
        return TrainingData(clips, made, read_manifest(course.fakes), course.fakes)

    def pair(self, options: SystemConfig) -> JointSystem:
        """Return the system whose base models made the fakes.

        Raises:
            UserError: The present weights are others.
        """
        found = system_of(options)
        if base_weight_hashes(found) != self.made.get("weights"):
            raise UserError(
                f"{self.folder} was made by other weights of {self.clips.preset}: run "
                "`mmdisco sample-fakes` again, into another folder"
            )
        return found

    def fake(self, part: str) -> PairStore:
        """Return the fakes of a split."""
        return store_of(self.folder, part, "fake", self.captions[part])

    def told_from(self, fakery: NegativesConfig) -> PairSource:
        """Return the negatives of training.

        Raises:
            UserError: A store is damaged, or does not match its manifest.
        """
        fake = self.fake("train")
        source: PairSource = fake
        if fakery.repaired:
            source = RecombinedWithinCaption.of(fake.read(), self.captions["train"])
        if fakery.shuffled:
            real = self.clips.store("train").read()
            shuffled = RecombinedWithinCaption.of(real, self.clips.captions["train"])
            source = MixedPairs(shuffled, source, fakery.shuffled)
        return source

    def groups(self, first: ContrastiveConfig, null: AV[Conditioning]) -> CaptionGroups:
        """Return the caption groups of contrastive pretraining.

        Raises:
            UserError: A store is damaged, or too few clips share a caption.
        """
        real = self.clips.store("train").read()
        return CaptionGroups.of(
            real, self.clips.captions["train"], null, first.group, first.strangers
        )
