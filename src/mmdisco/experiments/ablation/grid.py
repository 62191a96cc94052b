"""Grid of an ablation study: trains and measures its arms, each kept once it is done."""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmdisco.experiments.ablation.setting import ExperimentSetting
from mmdisco.experiments.ablation.study import Arm
from mmdisco.io.files import plain, read_object, write_json
from mmdisco.io.locking import alone
from mmdisco.io.workers import each
from mmdisco.training.config import TrainingConfig


@dataclass(frozen=True)
class TrainedNetwork:
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
        key = _key([self.place.weight_hashes(), self.config.deciding(), self.seed])
        return self.place.root / "trainings" / key

    @property
    def done(self) -> bool:
        """Whether the result is complete."""
        return (self.folder / "config.json").is_file()

    def carry_out(self) -> None:
        """Train, unless another process does or did."""
        with alone(self.folder / ".lock"):
            if not self.done:
                self.place.train(self.config, self.seed, self.folder)


@dataclass(frozen=True)
class AblationCell:
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
    def settings(self) -> dict[str, Any]:
        """Return every setting that affects its results."""
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
    def name(self) -> str:
        """Stem of its files."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.arm.name.lower()).strip("-")
        return f"{slug}-seed{self.seed}-{_key(self.settings)}"

    @property
    def file(self) -> Path:
        """File of its results."""
        return self.place.root / "cells" / f"{self.name}.json"

    @property
    def done(self) -> bool:
        """Whether its results are there."""
        return self.file.is_file()

    def figures(self) -> dict[str, float]:
        """Read the results; null in JSON is NaN."""
        found = read_object(self.file)["figures"]
        return {name: float("nan") if one is None else one for name, one in found.items()}

    def carry_out(self) -> None:
        """Measure, with a discriminator that is trained already."""
        trained = None if self.training is None else self.training.folder
        found = self.place.measure(self.arm, self.seed, trained, self.name)
        write_json(self.file, {"settings": self.settings, "figures": plain(found)})


Job = TrainedNetwork | AblationCell


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
    stages: list[tuple[str, list[Job]]] = [
        ("trainings", [one for one in wanted.values() if not one.done]),
        ("cells", list({cell.file: cell for cell in cells if not cell.done}.values())),
    ]
    for name, todo in stages:
        for done, _ in enumerate(_each(todo, jobs, threads), start=1):
            yield name, done, len(todo)


def cells_of(place: ExperimentSetting, arms: Sequence[Arm], seeds: int) -> list[AblationCell]:
    """List every arm with every seed."""
    return [AblationCell(place, arm, seed) for arm in arms for seed in range(seeds)]


def _each(todo: Sequence[Job], jobs: int, threads: int) -> Iterator[None]:
    if jobs == 1 or len(todo) < 2:
        for job in todo:
            _carry_out(job)
            yield
        return
    for _ in each(_carry_out, todo, jobs, threads=threads):
        yield


def _carry_out(job: Job) -> None:
    job.carry_out()


def _key(value: Any) -> str:
    text = json.dumps(plain(value), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
