"""What ``mmdisco train`` does with its settings."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mmdisco.course.config import Course
from mmdisco.course.train import prepare_training
from mmdisco.discriminator.base import Discriminator
from mmdisco.discriminator.folder import DiscriminatorFolder
from mmdisco.training.observer import Observer


class Shown(Observer):
    """The step and the losses beside a bar.

    Args:
        progress: The bar's.
        total: Steps in all.
    """

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task("training", total=total, said="")

    def look(self, step: int, network: Discriminator) -> Mapping[str, Any]:
        """Move the bar."""
        self._progress.update(self._task, completed=step)
        return {}

    def note(self, line: Mapping[str, Any]) -> None:
        """Say the losses, when they are new."""
        if "discrimination" in line:
            said = f"{line['discrimination']:.3f}, accuracy {line['accuracy']:.2f}"
            self._progress.update(self._task, said=f"cross-entropy {said}")


def carry_out(course: Course, repository: str | None) -> Iterator[str]:
    """Train.

    Yields:
        The folder, once it is whole; the address on the hub, once it is there.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[said]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        training = prepare_training(course, [Shown(progress, course.training.steps)])
        progress.disable |= not training.strategy.main
        for _ in training.steps():
            pass
    if training.strategy.main:
        yield str(course.out)
        if repository is not None:
            yield DiscriminatorFolder.push_to_hub(course.out, repository)
