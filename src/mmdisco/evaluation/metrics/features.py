"""What extractors give of clips, and how metrics get at it, without holding all clips at once."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mmdisco.media.clip import AudioVideo

Record = Mapping[str, npt.NDArray[Any]]
Matrix = npt.NDArray[np.float32]  # (clips, dimensions)


class Extractor(ABC):
    """Reads from a clip what metrics need of it.

    Attributes:
        name: Short, for options and reports.
        version: Changes whenever the same clip would give other numbers: of a network, the
            beginning of the SHA-256 of its weights.
        preprocessing: What is done to a clip first, in words.
    """

    name: str
    version: str
    preprocessing: str

    @abstractmethod
    def needs(self, clip: AudioVideo) -> str | None:
        """What a clip must be to be read, if ``clip`` is not; ``None`` if it is."""

    @abstractmethod
    def read(self, clip: AudioVideo) -> Record:
        """Arrays of one clip by name; ``features`` (dimensions,) of those with features."""


class Readings(ABC):
    """The records of a set of clips, in a fixed order."""

    @property
    @abstractmethod
    def names(self) -> Sequence[str]:
        """One of each clip."""

    @abstractmethod
    def record(self, extractor: str, index: int) -> Record | None:
        """What an extractor gave of clip ``index``; ``None`` if it could not read it."""

    def prompt(self, index: int) -> str | None:
        """The text that clip ``index`` was made from; ``None`` if it is not known."""
        del index
        return None

    def records(self, extractor: str) -> Iterator[Record]:
        """Of all clips that the extractor could read, in order."""
        for index in range(len(self.names)):
            record = self.record(extractor, index)
            if record is not None:
                yield record

    def count(self, extractor: str) -> int:
        """How many clips the extractor could read."""
        return sum(1 for _ in self.records(extractor))

    def sample(self, most: int, seed: int) -> list[int]:
        """The indices of all clips, or of ``most`` drawn without repetition, ascending."""
        if len(self.names) <= most:
            return list(range(len(self.names)))
        drawn = np.random.default_rng(seed).choice(len(self.names), most, replace=False)
        return sorted(drawn.tolist())

    def chosen(self, extractor: str, most: int, seed: int) -> list[tuple[int, Record]]:
        """Indices and records of ``sample``, without clips that could not be read."""
        pairs = [(index, self.record(extractor, index)) for index in self.sample(most, seed)]
        return [(index, record) for index, record in pairs if record is not None]

    def matrix(self, extractor: str, key: str, most: int, seed: int) -> Matrix:
        """One array of ``chosen`` clips, stacked."""
        rows = [record[key] for _, record in self.chosen(extractor, most, seed)]
        return np.stack(rows).astype(np.float32) if rows else np.empty((0, 0), np.float32)


@dataclass(frozen=True)
class InMemory(Readings):
    """Records that are kept in memory, for few clips.

    Attributes:
        clips: Names.
        kept: Records of every clip by extractor.
        prompts: Of every clip; none are known if it is empty.
    """

    clips: Sequence[str]
    kept: Mapping[str, Sequence[Record | None]]
    prompts: Sequence[str | None] = ()

    @property
    def names(self) -> Sequence[str]:
        """One of each clip."""
        return self.clips

    def record(self, extractor: str, index: int) -> Record | None:
        """What an extractor gave of clip ``index``."""
        return self.kept[extractor][index]

    def prompt(self, index: int) -> str | None:
        """The text that clip ``index`` was made from; ``None`` if it is not known."""
        return self.prompts[index] if self.prompts else None

    @staticmethod
    def of(extractors: Sequence[Extractor], clips: Sequence[AudioVideo]) -> "InMemory":
        """Read ``clips`` now."""
        kept = {
            one.name: [None if one.needs(clip) else one.read(clip) for clip in clips]
            for one in extractors
        }
        return InMemory([str(index) for index in range(len(clips))], kept)
