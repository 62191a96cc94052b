"""Inputs of a training, checked: prepared clips, and the fake pairs made of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mmdisco.core.av import AV
from mmdisco.core.denoiser import Conditioning
from mmdisco.core.pairs import PairSource
from mmdisco.data.fake_pairs import base_weight_hashes
from mmdisco.data.pair_store import PairStore
from mmdisco.data.pairing import MixedPairs, RecombinedWithinCaption
from mmdisco.data.prepared import PreparedFolder, captions_of, read_manifest, store_of
from mmdisco.errors import UserError
from mmdisco.generation.config import SystemConfig
from mmdisco.generation.presets.registry import system_of
from mmdisco.generation.system import JointSystem
from mmdisco.io.files import read_object
from mmdisco.training.config import ContrastiveConfig, NegativesConfig
from mmdisco.training.contrastive import CaptionGroups


@dataclass(frozen=True)
class TrainingData:
    """Inputs of a training.

    Attributes:
        clips: Real clips.
        fakes: Folder of the fakes.
        made: Contents of its ``fakes.json``.
        captions: Captions of the fakes, by split.
    """

    clips: PreparedFolder
    fakes: Path
    made: Mapping[str, Any]
    captions: Mapping[str, list[str]]

    @staticmethod
    def read(
        data: Path,
        fakes: Path,
        weights: Path | None,
        pipelines: Mapping[str, str] = MappingProxyType({}),
    ) -> "TrainingData":
        """Read everything but latents.

        Args:
            data: Folder that ``mmdisco prepare`` made.
            fakes: Folder that ``mmdisco sample-fakes`` made of it.
            weights: Folder of weights of the preset.
            pipelines: As of ``PreparedFolder``.

        Raises:
            UserError: A file is missing, unfinished, or made of other clips.
        """
        clips = PreparedFolder(data, weights, pipelines)
        made = read_object(fakes / "fakes.json")
        if not (fakes / "manifest.jsonl").exists():
            raise UserError(f"{fakes} is not finished: run `mmdisco sample-fakes` again first")
        if made.get("clips") != clips.fingerprint:
            raise UserError(
                f"{fakes} was made of other clips than {data}: run `mmdisco sample-fakes` for these"
            )
        if not clips.captions["train"]:
            raise UserError(f"{data} has no clips to train on: prepare more")
        return TrainingData(clips, fakes, made, captions_of(read_manifest(fakes)))

    def pair(self, options: SystemConfig) -> JointSystem:
        """Return the system whose base models made the fakes.

        Raises:
            UserError: The present weights are others.
        """
        found = system_of(options)
        if base_weight_hashes(found) != self.made.get("weights"):
            raise UserError(
                f"{self.fakes} was made by other weights of {self.clips.preset}: run "
                "`mmdisco sample-fakes` again, into another folder"
            )
        return found

    def fake(self, split: str) -> PairStore:
        """Return the fakes of a split."""
        return store_of(self.fakes, split, "fake", len(self.captions[split]))

    def negatives(self, config: NegativesConfig) -> PairSource:
        """Return the negatives of training.

        Raises:
            UserError: A store is damaged, or does not match its manifest.
        """
        fake = self.fake("train")
        source: PairSource = fake
        if config.recombine:
            source = RecombinedWithinCaption.of(fake.read(), self.captions["train"])
        if config.shuffled_fraction:
            real = self.clips.store("train").read()
            shuffled = RecombinedWithinCaption.of(real, self.clips.captions["train"])
            source = MixedPairs(shuffled, source, config.shuffled_fraction)
        return source

    def groups(self, config: ContrastiveConfig, null: AV[Conditioning]) -> CaptionGroups:
        """Return the caption groups of the contrastive loss.

        Raises:
            UserError: A store is damaged, or too few clips share a caption.
        """
        real = self.clips.store("train").read()
        return CaptionGroups.of(real, self.clips.captions["train"], null, config)
