"""What ``mmdisco train`` does with its settings."""

from collections.abc import Iterator, Mapping
from typing import Any

from mmdisco.cli.progress import Shown, progress
from mmdisco.core.discriminator import Discriminator
from mmdisco.discriminators.hub import PretrainedDiscriminator, expect_repository
from mmdisco.training.config import TrainingConfig
from mmdisco.training.run import build
from mmdisco.training.trainer import Callback


class ProgressCallback(Callback):
    """Shows the step and the losses.

    Args:
        shown: Where.
        name: Of what is done.
        total: Steps in all.
    """

    def __init__(self, shown: Shown, name: str, total: int) -> None:
        self._shown = shown
        self._name, self._total, self._said = name, total, ""

    def look(self, step: int, network: Discriminator) -> Mapping[str, Any]:
        """Show the step."""
        self._shown.update(self._name, step, self._total, self._said)
        return {}

    def on_log(self, line: Mapping[str, Any]) -> None:
        """Say the losses, when they are new."""
        if "discrimination" in line:
            said = f"{line['discrimination']:.3f}, accuracy {line['accuracy']:.2f}"
            self._said = f"cross-entropy {said}"


def execute(course: TrainingConfig, repository: str | None) -> Iterator[str]:
    """Train.

    Yields:
        The folder, once it is whole; the address on the hub, once it is there.

    Raises:
        UserError: The hub can have no repository of that name, or what training raises.
    """
    if repository is not None:
        expect_repository(repository)
    with progress("clips and bases") as shown:
        first = [ProgressCallback(shown, "contrast", course.first.steps)]
        own = [ProgressCallback(shown, "training", course.training.steps)]
        training = build(course, own, first)
        for _ in training.steps():
            pass
    if training.strategy.main:
        yield str(course.out)
        if repository is not None:
            yield PretrainedDiscriminator.push_to_hub(course.out, repository)
