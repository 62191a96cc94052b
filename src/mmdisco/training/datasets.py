"""What a training reads, checked: prepared clips, and the fakes that were made of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdisco.core.av import AV
from mmdisco.core.denoiser import Conditioning
from mmdisco.core.pairs import PairSource
from mmdisco.data.fake_pairs import base_marks
from mmdisco.data.pair_store import PairStore
from mmdisco.data.pairing import Mixed, RepairedWithin
from mmdisco.data.prepared import Clips, read_manifest, store_of
from mmdisco.errors import UserError
from mmdisco.generation.presets.options import Options
from mmdisco.generation.presets.registry import preset
from mmdisco.generation.system import Pair
from mmdisco.io.files import read_object
from mmdisco.training.config import Course, Fakery, First
from mmdisco.training.contrastive import Groups


@dataclass(frozen=True)
class Inputs:
    """What a training reads.

    Attributes:
        clips: Real ones.
        made: What ``fakes.json`` says of the fakes.
        captions: Of the fakes, by part.
        folder: Of the fakes.
    """

    clips: Clips
    made: Mapping[str, Any]
    captions: Mapping[str, list[str]]
    folder: Path

    @staticmethod
    def read(course: Course) -> "Inputs":
        """Read all but latents.

        Raises:
            UserError: Something is missing, unfinished, or of other clips.
        """
        clips = Clips.read(course.data, course.weights)
        made = read_object(course.fakes / "fakes.json")
        if not (course.fakes / "manifest.jsonl").exists():
            raise UserError(f"{course.fakes} is not finished: run `mmdisco fakes` again first")
        if made.get("clips") != clips.fingerprint:
            raise UserError(
                f"{course.fakes} was made of other clips than {course.data}: run `mmdisco fakes` "
                "for these"
            )
        if not clips.captions["train"]:
            raise UserError(f"{course.data} has no clips to train on: prepare more")
        return Inputs(clips, made, read_manifest(course.fakes), course.fakes)

    def pair(self, options: Options) -> Pair:
        """The pair whose bases made the fakes.

        Raises:
            UserError: The weights that are here are others.
        """
        found = preset(self.clips.preset).pair(options)
        if base_marks(found) != self.made.get("weights"):
            raise UserError(
                f"{self.folder} was made by other weights of {self.clips.preset}: run "
                "`mmdisco fakes` again, into another folder"
            )
        return found

    def fake(self, part: str) -> PairStore:
        """The fakes of a part."""
        return store_of(self.folder, part, "fake", self.captions[part])

    def told_from(self, fakery: Fakery) -> PairSource:
        """What real pairs are told from in training.

        Raises:
            UserError: A store is damaged, or is not what its manifest tells of.
        """
        fake = self.fake("train")
        source: PairSource = fake
        if fakery.repaired:
            source = RepairedWithin.of(fake.read(), self.captions["train"])
        if fakery.shuffled:
            real = self.clips.store("train").read()
            shuffled = RepairedWithin.of(real, self.clips.captions["train"])
            source = Mixed(shuffled, source, fakery.shuffled)
        return source

    def groups(self, first: First, null: AV[Conditioning]) -> Groups:
        """What is contrasted before the training.

        Raises:
            UserError: As for ``told_from``, or too few clips share a caption.
        """
        real = self.clips.store("train").read()
        return Groups.of(real, self.clips.captions["train"], null, first.group, first.strangers)
