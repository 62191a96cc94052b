"""What a training reads, checked: prepared clips, and the fakes that were made of them."""

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
from mmdisco.generation.presets.options import BuildOptions
from mmdisco.generation.presets.registry import preset
from mmdisco.generation.system import JointSystem
from mmdisco.io.files import read_object
from mmdisco.training.config import ContrastiveConfig, NegativesConfig, TrainingConfig
from mmdisco.training.contrastive import CaptionGroups


@dataclass(frozen=True)
class TrainingData:
    """What a training reads.

    Attributes:
        clips: Real ones.
        made: What ``fakes.json`` says of the fakes.
        captions: Of the fakes, by part.
        folder: Of the fakes.
    """

    clips: PreparedClips
    made: Mapping[str, Any]
    captions: Mapping[str, list[str]]
    folder: Path

    @staticmethod
    def read(course: TrainingConfig) -> "TrainingData":
        """Read all but latents.

        Raises:
            UserError: Something is missing, unfinished, or of other clips.
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

    def pair(self, options: BuildOptions) -> JointSystem:
        """The pair whose bases made the fakes.

        Raises:
            UserError: The weights that are here are others.
        """
        found = preset(self.clips.preset).pair(options)
        if base_weight_hashes(found) != self.made.get("weights"):
            raise UserError(
                f"{self.folder} was made by other weights of {self.clips.preset}: run "
                "`mmdisco sample-fakes` again, into another folder"
            )
        return found

    def fake(self, part: str) -> PairStore:
        """The fakes of a part."""
        return store_of(self.folder, part, "fake", self.captions[part])

    def told_from(self, fakery: NegativesConfig) -> PairSource:
        """What real pairs are told from in training.

        Raises:
            UserError: A store is damaged, or is not what its manifest tells of.
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
        """What is contrasted before the training.

        Raises:
            UserError: As for ``told_from``, or too few clips share a caption.
        """
        real = self.clips.store("train").read()
        return CaptionGroups.of(
            real, self.clips.captions["train"], null, first.group, first.strangers
        )
