"""What ``mmdisco train`` does with its settings."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mmdisco.course.config import Course
from mmdisco.course.train import prepare_training
from mmdisco.discriminator.base import Discriminator
from mmdisco.discriminator.folder import DiscriminatorFolder, expect_repository
from mmdisco.training.observer import Observer


class Shown(Observer):
    """The step and the losses beside a bar.

    Args:
        progress: The bar's.
        name: Of what is done.
        total: Steps in all.
    """

    def __init__(self, progress: Progress, name: str, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task(name, total=total, said="")

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

    Raises:
        UserError: The hub can have no repository of that name, or what training raises.
    """
    if repository is not None:
        expect_repository(repository)
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[said]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        before = course.first.steps
        first = [Shown(progress, "contrast", before)] if before else []
        own = [Shown(progress, "training", course.training.steps)]
        training = prepare_training(course, own, first)
        progress.disable |= not training.strategy.main
        for _ in training.steps():
            pass
    if training.strategy.main:
        yield str(course.out)
        if repository is not None:
            yield DiscriminatorFolder.push_to_hub(course.out, repository)
