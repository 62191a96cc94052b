"""Where clips come from: one interface, whatever the layout of the files."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

from mmdisco.media.probing import Fault

TRAIN: Final = "train"
VALIDATION: Final = "validation"
PARTS: Final[tuple[str, ...]] = (TRAIN, VALIDATION)


@dataclass(frozen=True)
class Item:
    """A film, or a stretch of one, that clips are taken from.

    Attributes:
        path: The file.
        name: How reports and the manifest call it: relative to the source.
        caption: May be empty.
        group: Clips of one group are all for training or all for validation.
        start: Seconds at which it begins.
        end: Seconds at which it ends; None is the end of the file.
        part: ``train`` or ``validation`` where the data set itself says so.
    """

    path: Path
    name: str
    caption: str
    group: str
    start: Fraction = Fraction(0)
    end: Fraction | None = None
    part: str | None = None


@dataclass(frozen=True)
class Refused:
    """What was named or found and is of no use.

    Attributes:
        name: As of an ``Item``.
        fault: Why.
    """

    name: str
    fault: Fault


class Source(ABC):
    """Films with their captions."""

    @abstractmethod
    def items(self) -> Iterator[Item | Refused]:
        """All, one after another, always in the same order.

        Raises:
            UserError: The source is not there, or a list of it is not what it should be.
        """
