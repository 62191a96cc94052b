"""Sources by layout: one film, a folder of clips, and the data sets of the field."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mmdisco.data.prepare.captions import Captions, CaptionSpan, NoCaptions
from mmdisco.data.prepare.sources import (
    TRAIN,
    VALIDATION,
    SkippedFile,
    Source,
    SourceVideo,
    find_videos,
    relative,
)
from mmdisco.errors import UserError
from mmdisco.io.tables import read_rows, whole_number
from mmdisco.media.probe import SkipReason

_PART_NAMES: Final = {
    "train": TRAIN,
    "test": VALIDATION,
    "val": VALIDATION,
    "validation": VALIDATION,
}
# the genres of AIST's file names, as its page lists them
_GENRES: Final = {
    "gBR": "break",
    "gPO": "pop",
    "gLO": "lock",
    "gWA": "waack",
    "gMH": "middle hip-hop",
    "gLH": "LA-style hip-hop",
    "gHO": "house",
    "gKR": "krump",
    "gJS": "street jazz",
    "gJB": "ballet jazz",
}


class Grouping(ABC):
    """Which films belong together, lest one part see what the other is judged by."""

    @abstractmethod
    def of(self, path: Path, root: Path) -> str:
        """The group of a film."""


class ByFile(Grouping):
    """Every film by itself."""

    def of(self, path: Path, root: Path) -> str:
        """Its name."""
        return relative(path, root)


class ByFolder(Grouping):
    """All films of a folder together."""

    def of(self, path: Path, root: Path) -> str:
        """The folder's name."""
        return relative(path.parent, root)


class ByStem(Grouping):
    """Pieces of one film together: names that differ in a last number alone."""

    def of(self, path: Path, root: Path) -> str:
        """The name without the number."""
        stem = re.sub(r"[-_. ]*\d+$", "", path.stem) or path.stem
        return relative(path.with_name(stem), root)


@dataclass(frozen=True)
class OneFilm(Source):
    """A single file.

    Attributes:
        path: The file.
        captions: What is said of it.
    """

    path: Path
    captions: Captions

    def items(self) -> Iterator[SourceVideo | SkippedFile]:
        """The film, or the stretches that captions name."""
        for said in self.captions.of(self.path, self.path.parent):
            yield SourceVideo(
                self.path, self.path.name, said.caption, self.path.name, said.start, said.end
            )


@dataclass(frozen=True)
class ClipList(Source):
    """A folder of films, at any depth.

    Attributes:
        root: The folder.
        captions: What is said of them.
        grouping: Which belong together.
        split_by_folder: Whether a folder named train, test, val or validation at the top says what
            its films are for.
    """

    root: Path
    captions: Captions
    grouping: Grouping
    split_by_folder: bool = False

    def items(self) -> Iterator[SourceVideo | SkippedFile]:
        """Sorted by name; then the names that only captions know."""
        for path in find_videos(self.root):
            if isinstance(path, SkippedFile):
                yield path
                continue
            name = relative(path, self.root)
            top = name.split("/", 1)[0].lower()
            part = _PART_NAMES.get(top) if self.split_by_folder and "/" in name else None
            group = self.grouping.of(path, self.root)
            for said in self.captions.of(path, self.root):
                yield SourceVideo(path, name, said.caption, group, said.start, said.end, part)
        for name in self.captions.unused():
            yield SkippedFile(name, SkipReason("not found", "only the captions know it"))


def landscape(root: Path, captions: Captions) -> Source:
    """Landscape: folders train and test; pieces of one film differ in a last number."""
    return ClipList(root, captions, ByStem(), split_by_folder=True)


class ByDance(Grouping):
    """AIST++: one dance is filmed by several cameras, which the names tell as c01 to c10, cAll."""

    def of(self, path: Path, root: Path) -> str:
        """The name without the camera, and without the number of a piece."""
        stem = re.sub(r"_c(\d\d|All)(?=_|$)", "", path.stem)
        found = re.match(r"g\w\w_s\w\w_d\d\d_m\w\w\d_ch\d\d", stem)
        return found[0] if found else stem


class Genres(Captions):
    """AIST++: the genre in the name of the file."""

    def of(self, path: Path, root: Path) -> list[CaptionSpan]:
        """A dance of the genre."""
        genre = _GENRES.get(path.stem[:3])
        return [CaptionSpan(f"a person dancing {genre}" if genre else "")]


def aist(root: Path, captions: Captions) -> Source:
    """AIST++: folders train and test may split it; captions tell the genre unless others are given.

    Args:
        root: The folder.
        captions: Others; without any the genre is told.
    """
    said = Genres() if isinstance(captions, NoCaptions) else captions
    return ClipList(root, said, ByDance(), split_by_folder=True)


@dataclass(frozen=True)
class VGGSound(Source):
    """VGGSound: a table without a header, and a folder of files named after id and second.

    Attributes:
        root: Of files named ``<id>_<start>.mp4``, the second in any number of digits, at any depth.
        table: Rows of id, second, label and ``train`` or ``test``.
    """

    root: Path
    table: Path

    def items(self) -> Iterator[SourceVideo | SkippedFile]:
        """In the order of the table; rows without a file, and files without a row, are refused."""
        here: dict[tuple[str, int], Path] = {}
        for path in find_videos(self.root):
            if isinstance(path, SkippedFile):
                yield path
                continue
            found = re.fullmatch(r"(.{11})_(\d+)", path.stem)
            name = relative(path, self.root)
            if found is None:
                yield SkippedFile(name, SkipReason("not named by id and second"))
            elif path is not here.setdefault((found[1], int(found[2])), path):
                yield SkippedFile(name, SkipReason("there twice", "another has its id and second"))
        listed: set[tuple[str, int]] = set()
        for key, label, part in self._rows():
            path = here.get(key)
            listed.add(key)
            if path is None:
                yield SkippedFile(
                    f"{key[0]}_{key[1]:06d}", SkipReason("not found", "only the table knows it")
                )
            else:
                yield SourceVideo(path, relative(path, self.root), label, key[0], part=part)
        for key, path in here.items():
            if key not in listed:
                yield SkippedFile(relative(path, self.root), SkipReason("not in the table"))

    def _rows(self) -> Iterator[tuple[tuple[str, int], str, str]]:
        for place, row in read_rows(self.table):
            try:
                name, second, label, part = row
                yield (name, whole_number(second)), label.strip(), _PART_NAMES[part.strip().lower()]
            except (ValueError, KeyError) as error:
                raise UserError(
                    f"{place}, is no row of VGGSound: id, second, label and train or test are "
                    "wanted; if a label has a comma in it, put quotes around it"
                ) from error
