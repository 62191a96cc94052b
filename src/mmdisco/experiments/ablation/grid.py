"""Grid of an ablation study: trains and measures its arms, each kept once it is done."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from typing_extensions import override

from mmdisco.experiments import grid
from mmdisco.experiments.ablation.setting import ExperimentSetting
from mmdisco.experiments.ablation.study import Arm
from mmdisco.experiments.grid import Cell, MeasuredCell, key_of
from mmdisco.io.files import plain
from mmdisco.io.locking import alone
from mmdisco.training.config import TrainingConfig


@dataclass(frozen=True)
class TrainedNetwork(Cell):
    """Training of one discriminator.

    Attributes:
        place: Setting of the experiment.
        config: Configuration of the training.
        seed: Seed of every random number.
    """

    place: ExperimentSetting
    config: TrainingConfig
    seed: int

    @property
    def folder(self) -> Path:
        """Folder of the result, named by a hash of all that affects it."""
        key = key_of([self.place.weight_hashes(), self.config.deciding(), self.seed])
        return self.place.root / "trainings" / key

    @property
    @override
    def done(self) -> bool:
        return (self.folder / "config.json").is_file()

    @override
    def carry_out(self) -> None:
        """Train, unless another process does or did."""
        with alone(self.folder / ".lock"):
            if not self.done:
                self.place.train(self.config, self.seed, self.folder)


@dataclass(frozen=True)
class AblationCell(MeasuredCell):
    """An arm with one seed.

    Attributes:
        place: Setting of the experiment.
        arm: The arm.
        seed: Seed of training and sampling.
    """

    place: ExperimentSetting
    arm: Arm
    seed: int

    @property
    def training(self) -> TrainedNetwork | None:
        """Return the training of its discriminator, if it has one."""
        config = self.arm.training
        return None if config is None else TrainedNetwork(self.place, config, self.seed)

    @property
    @override
    def settings(self) -> dict[str, Any]:
        place, config = self.place, self.arm.training
        return plain(
            {
                "marks": place.weight_hashes(),
                "recipe": None if config is None else config.deciding(),
                "way": asdict(self.arm.way),
                "seed": self.seed,
                "clips": place.clips,
                "pairs": place.pairs,
                "levels": place.levels,
                "discriminator": place.judge if config is None and self.arm.way.guided else None,
            }
        )

    @property
    @override
    def out(self) -> Path:
        return self.place.root

    @property
    @override
    def label(self) -> str:
        return f"{self.arm.name} seed{self.seed}"

    @override
    def measure(self) -> dict[str, float]:
        """Measure, with a discriminator that is trained already."""
        trained = None if self.training is None else self.training.folder
        return self.place.measure(self.arm, self.seed, trained, self.name)

    @override
    def results(self) -> dict[str, float]:
        """Read the results; null in JSON is NaN."""
        found = super().results()
        return {name: float("nan") if one is None else one for name, one in found.items()}


def run(
    place: ExperimentSetting, arms: Sequence[Arm], seeds: int, jobs: int, threads: int = 1
) -> Iterator[tuple[str, int, int]]:
    """Run everything that is not done, trainings first.

    Args:
        place: Setting of the experiment.
        arms: Arms of a study.
        seeds: Number of seeds, from 0.
        jobs: Number of processes.
        threads: Threads per process.

    Yields:
        Description of the current work, number done, and total.
    """
    cells = cells_of(place, arms, seeds)
    wanted = {one.folder: one for cell in cells if (one := cell.training) and not cell.done}
    stages: list[tuple[str, list[Cell]]] = [
        ("trainings", list(wanted.values())),
        ("cells", list({cell.file: cell for cell in cells}.values())),
    ]
    for name, todo in stages:
        for _, done, total in grid.run(todo, jobs, threads):
            yield name, done, total


def cells_of(place: ExperimentSetting, arms: Sequence[Arm], seeds: int) -> list[AblationCell]:
    """List every arm with every seed."""
    return [AblationCell(place, arm, seed) for arm in arms for seed in range(seeds)]
