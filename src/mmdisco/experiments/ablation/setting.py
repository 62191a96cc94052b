"""Setting of a study: data, base models, and how an arm is trained and measured."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdisco.discriminators.hub import find_discriminator, read_config
from mmdisco.experiments.ablation.study import Arm, Baseline
from mmdisco.training.config import TrainingConfig


@dataclass(frozen=True)
class ExperimentSetting(ABC):
    """Setting of an experiment; it holds plain values, so that it can be sent to other processes.

    Attributes:
        root: Folder of all studies, which share trainings and measurements.
        clips: Number of clips per arm and seed.
        pairs: Number of held-out pairs for the diagnostics of a trained discriminator.
        levels: Number of noise levels for the diagnostics.
        discriminator: Folder or hub id of the discriminator for arms without training; None is the
            pair's own.
    """

    root: Path
    clips: int
    pairs: int
    levels: int
    discriminator: str | None

    @property
    def judge(self) -> str | None:
        """Return the checksum of ``discriminator``.

        Raises:
            UserError: It is missing.
        """
        if self.discriminator is None:
            return None
        return str(read_config(find_discriminator(self.discriminator))["sha256"])

    @abstractmethod
    def usual(self) -> Baseline:
        """Return the baseline that arms change.

        Raises:
            UserError: A file that is always needed is missing.
        """

    @abstractmethod
    def expect(self, arms: list[Arm]) -> None:
        """Check, before any work, that the arms can be run.

        Raises:
            UserError: They cannot.
        """

    @abstractmethod
    def prepare(self, arms: list[Arm]) -> None:
        """Make what all arms need and is missing."""

    @abstractmethod
    def weight_hashes(self) -> Mapping[str, Any]:
        """Return what results depend on beside an arm and its seed, in JSON's types."""

    @abstractmethod
    def train(self, config: TrainingConfig, seed: int, folder: Path) -> None:
        """Train into a folder, resuming if possible; it becomes a ``PretrainedDiscriminator``."""

    @abstractmethod
    def measure(self, arm: Arm, seed: int, trained: Path | None, name: str) -> dict[str, float]:
        """Measure an arm.

        Args:
            arm: The arm.
            seed: Seed of the sampling noise.
            trained: Folder of its discriminator; None for arms without training.
            name: Name of the cell, for files that it leaves.
        """

    @abstractmethod
    def columns(self, measured: Sequence[str]) -> Mapping[str, str]:
        """Select the metrics that tables and plots show, with their headings."""
