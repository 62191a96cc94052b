"""Which kind a path is of."""

from pathlib import Path
from typing import Final

from mmdisco.cli.inspection.folders import PreparedKind, Store, WeightsFolder
from mmdisco.cli.inspection.kind import FileKind
from mmdisco.cli.inspection.media import FilmFile
from mmdisco.cli.inspection.runs import FakesFolder, TrainedFolder
from mmdisco.cli.inspection.tensors import CheckpointFile, ShardFile, WeightsFile
from mmdisco.errors import UserError
from mmdisco.io.files import expect_file

KINDS: Final[tuple[FileKind, ...]] = (
    PreparedKind(),
    FakesFolder(),
    TrainedFolder(),
    Store(),
    WeightsFolder(),
    ShardFile(),
    CheckpointFile(),
    WeightsFile(),
    FilmFile(),
)
"""The first that fits is meant."""


def kind_of(path: Path) -> FileKind:
    """The kind of a file or a folder.

    Raises:
        UserError: It is not there, damaged, or of none of the kinds.
    """
    if not path.exists():
        raise UserError(f"{path} is not there: give a file or a folder")
    if not path.is_dir():
        expect_file(path)
    for kind in KINDS:
        if kind.fits(path):
            return kind
    raise UserError(
        f"{path} is neither a folder of data or weights, nor a safetensors file, nor a film: give "
        "another one"
    )
