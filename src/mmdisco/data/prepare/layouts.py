"""Sources by layout: a single video, a folder of clips, and published data sets."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from typing_extensions import override

from mmdisco.data.config import PrepareConfig
from mmdisco.data.prepare.sources import (
    TRAIN,
    VALIDATION,
    Captions,
    CaptionSpan,
    FolderNames,
    NoCaptions,
    SkippedFile,
    Source,
    SourceVideo,
    find_videos,
    read_captions,
    relative,
)
from mmdisco.errors import UserError
from mmdisco.io.tables import read_rows, whole_number
from mmdisco.media.probe import SkipReason

_SPLIT_NAMES: Final = {
    "train": TRAIN,
    "test": VALIDATION,
    "val": VALIDATION,
    "validation": VALIDATION,
}
# the genre codes of AIST's file names, as its page lists them
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


Grouping = Callable[[Path, Path], str]
"""Group of a video, from its path and the root; a group stays in one split, so that validation data
is unseen."""


def by_file(path: Path, root: Path) -> str:
    """Put each video into a group of its own."""
    return relative(path, root)


def by_folder(path: Path, root: Path) -> str:
    """Group by folder."""
    return relative(path.parent, root)


def by_stem(path: Path, root: Path) -> str:
    """Group clips of one video: names that differ only in a trailing number."""
    stem = re.sub(r"[-_. ]*\d+$", "", path.stem) or path.stem
    return relative(path.with_name(stem), root)


@dataclass(frozen=True)
class SingleVideo(Source):
    """A single file.

    Attributes:
        path: The file.
        captions: Its captions.
    """

    path: Path
    captions: Captions

    @override
    def items(self) -> Iterator[SourceVideo | SkippedFile]:
        for said in self.captions.of(self.path, self.path.parent):
            yield SourceVideo(
                self.path,
                self.path.name,
                said.caption,
                self.path.name,
                said.start,
                said.end,
                audio_caption=said.audio_caption,
            )


@dataclass(frozen=True)
class ClipList(Source):
    """A folder of videos, at any depth.

    Attributes:
        root: The folder.
        captions: Captions of the videos.
        grouping: Grouping of videos that stay in one split.
        split_by_folder: Whether a top-level folder named train, test, val or validation decides the
            split of its videos.
    """

    root: Path
    captions: Captions
    grouping: Grouping
    split_by_folder: bool = False

    @override
    def items(self) -> Iterator[SourceVideo | SkippedFile]:
        """List videos by name, then captioned names without a file."""
        for path in find_videos(self.root):
            if isinstance(path, SkippedFile):
                yield path
                continue
            name = relative(path, self.root)
            top = name.split("/", 1)[0].lower()
            split = _SPLIT_NAMES.get(top) if self.split_by_folder and "/" in name else None
            group = self.grouping(path, self.root)
            for said in self.captions.of(path, self.root):
                span = (said.start, said.end, split, said.audio_caption)
                yield SourceVideo(path, name, said.caption, group, *span)
        for name in self.captions.unused():
            yield SkippedFile(name, SkipReason("not found", "only the captions know it"))


def landscape(root: Path, captions: Captions) -> Source:
    """Read Landscape: folders train and test; clips of one video differ in a trailing number."""
    return ClipList(root, captions, by_stem, split_by_folder=True)


def by_dance(path: Path, root: Path) -> str:
    """Group by dance of AIST++, which several cameras film, named c01 to c10 and cAll."""
    del root
    stem = re.sub(r"_c(\d\d|All)(?=_|$)", "", path.stem)
    found = re.match(r"g\w\w_s\w\w_d\d\d_m\w\w\d_ch\d\d", stem)
    return found[0] if found else stem


class Genres(Captions):
    """Captions of AIST++: the genre code in the file name."""

    @override
    def of(self, path: Path, root: Path) -> list[CaptionSpan]:
        genre = _GENRES.get(path.stem[:3])
        return [CaptionSpan(f"a person dancing {genre}" if genre else "")]


def aist(root: Path, captions: Captions) -> Source:
    """Read AIST++: optional folders train and test; by default captions name the genre.

    Args:
        root: The folder.
        captions: Captions that replace the genre, if there are any.
    """
    said = Genres() if isinstance(captions, NoCaptions) else captions
    return ClipList(root, said, by_dance, split_by_folder=True)


@dataclass(frozen=True)
class VGGSound(Source):
    """VGGSound: a table without a header, and a folder of files named by id and second.

    Attributes:
        root: Folder of files named ``<id>_<start>.mp4``, the second in any number of digits, at any
            depth.
        table: Table of id, second, label and ``train`` or ``test``.
    """

    root: Path
    table: Path

    @override
    def items(self) -> Iterator[SourceVideo | SkippedFile]:
        """List videos in the order of the table; unmatched rows and files are skipped."""
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
                yield SkippedFile(name, SkipReason("duplicate", "another has its id and second"))
        listed: set[tuple[str, int]] = set()
        for key, label, split in self._rows():
            path = here.get(key)
            listed.add(key)
            if path is None:
                yield SkippedFile(
                    f"{key[0]}_{key[1]:06d}", SkipReason("not found", "only the table knows it")
                )
            else:
                yield SourceVideo(path, relative(path, self.root), label, key[0], split=split)
        for key, path in here.items():
            if key not in listed:
                yield SkippedFile(relative(path, self.root), SkipReason("not in the table"))

    def _rows(self) -> Iterator[tuple[tuple[str, int], str, str]]:
        for place, row in read_rows(self.table):
            try:
                name, second, label, split = row
                yield (
                    (name, whole_number(second)),
                    label.strip(),
                    _SPLIT_NAMES[split.strip().lower()],
                )
            except (ValueError, KeyError) as error:
                raise UserError(
                    f"{place}, is no row of VGGSound: id, second, label and train or test are "
                    "wanted; if a label has a comma in it, put quotes around it"
                ) from error


_GROUPINGS: Final[dict[str, Grouping]] = {
    "file": by_file,
    "folder": by_folder,
    "name": by_stem,
}


def source_of(config: PrepareConfig, notify: Callable[[str], None]) -> Source:
    """Return the source that a configuration names.

    Args:
        config: The configuration.
        notify: Is called with a line about what is not read.

    Raises:
        UserError: The source is not there, or does not fit the layout.
    """
    root, layout = config.source, config.chosen_layout
    if not root.exists():
        raise UserError(f"{root} is not there: give a folder of clips, or a film")
    if (layout == "film") == root.is_dir():
        wanted = "a file" if layout == "film" else "a folder"
        raise UserError(f"{root}: the layout {layout} wants {wanted}")
    if config.group_by != "file" and layout != "clips":
        raise UserError(f"the layout {layout} groups films by itself: leave --group-by out")
    if layout == "vggsound":
        if config.captions in ("none", "folders"):
            raise UserError("the layout vggsound wants its table: give --captions vggsound.csv")
        return VGGSound(root, Path(config.captions))
    captions = _captions(config.captions, notify)
    builders: dict[str, Callable[[], Source]] = {
        "clips": lambda: ClipList(root, captions, _GROUPINGS[config.group_by]),
        "film": lambda: SingleVideo(root, captions),
        "landscape": lambda: landscape(root, captions),
        "aist": lambda: aist(root, captions),
    }
    return builders[layout]()


def _captions(name: str, notify: Callable[[str], None]) -> Captions:
    named: dict[str, Callable[[], Captions]] = {"none": NoCaptions, "folders": FolderNames}
    if name in named:
        return named[name]()
    listed = read_captions(Path(name))
    if listed.unread:
        notify(f"of {name} these columns are not read: {', '.join(listed.unread)}")
    return listed
