"""Where a study is carried out: data, bases, and how an arm is trained and measured there."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdisco.discriminators.hub import find_discriminator, read_config
from mmdisco.experiments.ablation.study import Arm, Baseline, TrainingRecipe


@dataclass(frozen=True)
class ExperimentSetting(ABC):
    """Values alone, so that it can be sent to other processes.

    Attributes:
        root: Folder of all studies; they share what is trained and measured.
        clips: Made for each arm and seed.
        pairs: Held-out pairs that a trained discriminator is examined on.
        levels: Noise levels of that.
        discriminator: Folder or hub id of the one for arms that train none; None is the pair's own.
    """

    root: Path
    clips: int
    pairs: int
    levels: int
    discriminator: str | None

    @property
    def judge(self) -> str | None:
        """Checksum of ``discriminator``.

        Raises:
            UserError: It is not there.
        """
        if self.discriminator is None:
            return None
        return str(read_config(find_discriminator(self.discriminator))["sha256"])

    @abstractmethod
    def usual(self) -> Baseline:
        """What arms are changes of.

        Raises:
            UserError: Something that is always needed is missing.
        """

    @abstractmethod
    def expect(self, arms: list[Arm]) -> None:
        """Make sure, before any work, that the arms can be carried out.

        Raises:
            UserError: They cannot.
        """

    @abstractmethod
    def prepare(self, arms: list[Arm]) -> None:
        """Make what all of them need and is not there yet."""

    @abstractmethod
    def weight_hashes(self) -> Mapping[str, Any]:
        """What trainings and measures depend on beside an arm and its seed, in JSON's types."""

    @abstractmethod
    def train(self, recipe: TrainingRecipe, seed: int, folder: Path) -> None:
        """Train into a folder, going on where it is; it becomes a ``PretrainedDiscriminator``."""

    @abstractmethod
    def measure(self, arm: Arm, seed: int, trained: Path | None, name: str) -> dict[str, float]:
        """The figures of an arm.

        Args:
            arm: How clips are made.
            seed: Of the sampling noise.
            trained: Folder of its discriminator; None for arms that train none.
            name: Of the cell, for what it leaves behind.
        """

    @abstractmethod
    def columns(self, measured: Sequence[str]) -> Mapping[str, str]:
        """Which of the measured figures tables and pictures show, with their headings."""
