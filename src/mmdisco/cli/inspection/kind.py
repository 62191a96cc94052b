"""A kind of file or folder: how it is known, what is said of it, which clips it holds."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mmdisco.errors import UserError
from mmdisco.media.clip import AudioVideo

MOST_CLIPS: Final = 8  # in a picture


class FileKind(ABC):
    """One kind."""

    @abstractmethod
    def fits(self, path: Path) -> bool:
        """Whether ``path`` is of this kind."""

    @abstractmethod
    def words(self, path: Path) -> list[str]:
        """What it holds, a line each.

        Raises:
            UserError: It is damaged.
        """

    def clips(self, path: Path, weights: Path | None) -> Mapping[str, AudioVideo]:
        """A few of its clips by title.

        Args:
            path: What is inspected.
            weights: Other weights than those the folder was made with.

        Raises:
            UserError: It holds none, or the models that decode them are not here.
        """
        raise UserError(f"{path} holds nothing to be drawn: leave --picture out")
