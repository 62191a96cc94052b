"""Records of extractors, and how metrics read them without holding all clips in memory."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from mmdisco.media.clip import AudioVideo

Record = Mapping[str, npt.NDArray[Any]]
Matrix = npt.NDArray[np.float32]  # (clips, dimensions)
Times = npt.NDArray[np.float64]  # of events, in seconds


class Extractor(ABC):
    """Extractor of what metrics need from a clip.

    Attributes:
        name: Short name for options and reports.
        version: Changes whenever the same clip would give other numbers; for a network, the
            beginning of the SHA-256 of its weights.
        preprocessing: Description of the preprocessing.
    """

    name: str
    version: str
    preprocessing: str

    def needs(self, clip: AudioVideo) -> str | None:
        """Return the requirement that ``clip`` does not meet; ``None`` if it can be read."""
        del clip
        return None

    @abstractmethod
    def read(self, clip: AudioVideo) -> Record:
        """Extract named arrays from one clip; feature vectors as ``features`` (dimensions,)."""


class Readings(ABC):
    """Records of a set of clips, in a fixed order."""

    @property
    @abstractmethod
    def names(self) -> Sequence[str]:
        """Return the name of each clip."""

    @abstractmethod
    def record(self, extractor: str, index: int) -> Record | None:
        """Return an extractor's record of clip ``index``; ``None`` if it could not read it."""

    def prompt(self, index: int) -> str | None:
        """Return the prompt of clip ``index``; ``None`` if unknown."""
        del index
        return None

    def records(self, extractor: str) -> Iterator[Record]:
        """Iterate over the records of all clips that the extractor could read, in order."""
        for index in range(len(self.names)):
            record = self.record(extractor, index)
            if record is not None:
                yield record

    def count(self, extractor: str) -> int:
        """Count the clips that the extractor could read."""
        return sum(1 for _ in self.records(extractor))

    def sample(self, most: int, seed: int) -> list[int]:
        """Return the indices of all clips, or of ``most`` drawn without replacement, ascending."""
        if len(self.names) <= most:
            return list(range(len(self.names)))
        drawn = np.random.default_rng(seed).choice(len(self.names), most, replace=False)
        return sorted(drawn.tolist())

    def chosen(self, extractor: str, most: int, seed: int) -> list[tuple[int, Record]]:
        """Return indices and records of ``sample``, without unreadable clips."""
        pairs = [(index, self.record(extractor, index)) for index in self.sample(most, seed)]
        return [(index, record) for index, record in pairs if record is not None]

    def matrix(self, extractor: str, key: str, most: int, seed: int) -> Matrix:
        """Stack one array of the ``chosen`` clips."""
        rows = [record[key] for _, record in self.chosen(extractor, most, seed)]
        return np.stack(rows).astype(np.float32) if rows else np.empty((0, 0), np.float32)


@dataclass(frozen=True)
class InMemory(Readings):
    """Records in memory, for few clips.

    Attributes:
        clips: Names of the clips.
        kept: Records of every clip by extractor.
        prompts: Prompt of every clip; empty if none are known.
    """

    clips: Sequence[str]
    kept: Mapping[str, Sequence[Record | None]]
    prompts: Sequence[str | None] = ()

    @property
    @override
    def names(self) -> Sequence[str]:
        return self.clips

    @override
    def record(self, extractor: str, index: int) -> Record | None:
        return self.kept[extractor][index]

    @override
    def prompt(self, index: int) -> str | None:
        return self.prompts[index] if self.prompts else None

    @staticmethod
    def of(extractors: Sequence[Extractor], clips: Sequence[AudioVideo]) -> "InMemory":
        """Extract from ``clips`` now."""
        kept = {
            one.name: [None if one.needs(clip) else one.read(clip) for clip in clips]
            for one in extractors
        }
        return InMemory([str(index) for index in range(len(clips))], kept)
