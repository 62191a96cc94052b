"""Who looks on while a run goes on. An observer may add to the log; it never changes the run."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from mmdisco.discriminator.base import Discriminator


class Observer(ABC):
    """Looks at a run after each step, before the step is kept in a checkpoint."""

    @abstractmethod
    def look(self, step: int, network: Discriminator) -> Mapping[str, Any]:
        """Entries for the log's line of this step; none after most steps.

        Args:
            step: Steps done.
            network: The averaged network, frozen.
        """

    @abstractmethod
    def note(self, line: Mapping[str, Any]) -> None:
        """A line that was added to the log; ``line["step"]`` says when."""
