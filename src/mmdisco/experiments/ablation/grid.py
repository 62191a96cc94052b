"""Grid of an ablation study: trains and measures its variants, each kept once it is done."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from typing_extensions import override

from mmdisco.experiments import grid
from mmdisco.experiments.ablation.study import ExperimentSetting, Variant
from mmdisco.experiments.grid import Cell, MeasuredCell, key_of
from mmdisco.io.files import plain
from mmdisco.io.locking import alone
from mmdisco.training.config import TrainingConfig


@dataclass(frozen=True)
class TrainedNetwork(Cell):
    """Training of one discriminator.

    Attributes:
        setting: Setting of the experiment.
        config: Configuration of the training.
        seed: Seed of every random number.
    """

    setting: ExperimentSetting
    config: TrainingConfig
    seed: int

    @property
    def folder(self) -> Path:
        """Folder of the result, named by a hash of all that affects it."""
        key = key_of([self.setting.weight_hashes(), self.config.deciding(), self.seed])
        return self.setting.root / "trainings" / key

    @property
    @override
    def done(self) -> bool:
        return (self.folder / "config.json").is_file()

    @override
    def carry_out(self) -> None:
        """Train, unless another process does or did."""
        with alone(self.folder / ".lock"):
            if not self.done:
                self.setting.train(self.config, self.seed, self.folder)


@dataclass(frozen=True)
class AblationCell(MeasuredCell):
    """A variant with one seed.

    Attributes:
        setting: Setting of the experiment.
        variant: The variant.
        seed: Seed of training and sampling.
    """

    setting: ExperimentSetting
    variant: Variant
    seed: int

    @property
    def training(self) -> TrainedNetwork | None:
        """Return the training of its discriminator, if it has one."""
        config = self.variant.training
        return None if config is None else TrainedNetwork(self.setting, config, self.seed)

    @property
    @override
    def settings(self) -> dict[str, Any]:
        setting, config = self.setting, self.variant.training
        sampled = config is None and self.variant.sampling.guided
        return plain(
            {
                "weight_hashes": setting.weight_hashes(),
                "training": None if config is None else config.deciding(),
                "sampling": asdict(self.variant.sampling),
                "seed": self.seed,
                "clips": setting.clips,
                "pairs": setting.pairs,
                "levels": setting.levels,
                "discriminator": setting.discriminator_hash if sampled else None,
            }
        )

    @property
    @override
    def label(self) -> str:
        return f"{self.variant.name} seed{self.seed}"

    @override
    def measure(self) -> dict[str, float]:
        """Measure, with a discriminator that is trained already."""
        trained = None if self.training is None else self.training.folder
        return self.setting.measure(self.variant, self.seed, trained, self.name)

    @override
    def results(self) -> dict[str, float]:
        """Read the results; null in JSON is NaN."""
        found = super().results()
        return {name: float("nan") if one is None else one for name, one in found.items()}


def run(
    setting: ExperimentSetting, variants: Sequence[Variant], seeds: int, jobs: int, threads: int = 1
) -> Iterator[tuple[str, int, int]]:
    """Run everything that is not done, trainings first.

    Args:
        setting: Setting of the experiment.
        variants: Variants of a study.
        seeds: Number of seeds, from 0.
        jobs: Number of processes.
        threads: Threads per process.

    Yields:
        Description of the current work, number done, and total.
    """
    cells = cells_of(setting, variants, seeds)
    wanted = {one.folder: one for cell in cells if (one := cell.training) and not cell.done}
    stages: list[tuple[str, list[Cell]]] = [
        ("trainings", list(wanted.values())),
        ("cells", list({cell.file: cell for cell in cells}.values())),
    ]
    for name, todo in stages:
        for _, done, total in grid.run(todo, jobs, threads):
            yield name, done, total


def cells_of(
    setting: ExperimentSetting, variants: Sequence[Variant], seeds: int
) -> list[AblationCell]:
    """List every variant with every seed."""
    return [
        AblationCell(setting.root, setting, variant, seed)
        for variant in variants
        for seed in range(seeds)
    ]
