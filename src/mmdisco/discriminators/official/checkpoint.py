"""Weights of the released discriminators on disk.

The release publishes a pickle of a bare state dict. It is read once, by a reader that builds
tensors and nothing else, checked, and written as a folder of two files, which alone are read
from then on:

    discriminator.safetensors    by the names of ``ReleasedDiscriminator``, single precision
    config.json                  the configuration and SHA-256 of both files, written last

Whatever stops a conversion, a kill included, leaves the previous pair, none, or one whose
checksums do not match, which is never loaded.
"""

from pathlib import Path
from typing import Any, Final

from mmdisco.discriminators.official.config import OfficialConfig
from mmdisco.discriminators.official.keys import empty, translate
from mmdisco.discriminators.official.network import ReleasedDiscriminator
from mmdisco.errors import UserError
from mmdisco.io.files import (
    expect_writable,
    read_object,
    read_tensors,
    sha256,
    understood,
    write_json,
    write_tensors,
)
from mmdisco.io.pickles import read_pickle, state_dict

WEIGHTS: Final = "discriminator.safetensors"
CONFIG: Final = "config.json"


def load_checkpoint(checkpoint: Path, config: OfficialConfig) -> ReleasedDiscriminator:
    """Load the discriminator of a published file, converted at the first use.

    The folder of the converted weights stands beside the file, with ``.converted`` appended to
    its name. It is sufficient by itself: the file may then be deleted. A file that was replaced
    is converted again.

    Args:
        checkpoint: A published file.
        config: The shape of its network, one of ``PUBLISHED``.

    Returns:
        The network on the CPU, in single precision, frozen.

    Raises:
        UserError: The file is missing, damaged or of another network, the folder cannot be written
            to, or its content is damaged.
    """
    folder = checkpoint.with_name(f"{checkpoint.name}.converted")
    if not (folder / CONFIG).exists():
        convert(checkpoint, folder, config)
    elif checkpoint.exists():
        record = _read_record(folder)
        if record["source_sha256"] != sha256(checkpoint) or not _is_of(record, config):
            convert(checkpoint, folder, config)
    elif not _is_of(_read_record(folder), config):
        raise UserError(f"{folder} holds another network than was asked for: name that one")
    return load(folder)


def convert(checkpoint: Path, folder: Path, config: OfficialConfig) -> None:
    """Convert the weights of a published file to a folder of safetensors and JSON.

    Args:
        checkpoint: A published file.
        folder: Destination; an earlier conversion in it is replaced.
        config: The shape of the network, one of ``PUBLISHED``.

    Raises:
        UserError: The file is missing, damaged or of another network, or the folder cannot be
            written to. Nothing is changed then.
    """
    weights = translate(state_dict(read_pickle(checkpoint), checkpoint), config, str(checkpoint))
    expect_writable(folder / CONFIG)
    write_tensors(folder / WEIGHTS, weights, {"source": checkpoint.name})
    record = {
        "config": config.to_record(),
        "sha256": sha256(folder / WEIGHTS),
        "source": checkpoint.name,
        "source_sha256": sha256(checkpoint),
    }
    write_json(folder / CONFIG, record)


def load(folder: Path) -> ReleasedDiscriminator:
    """Load the discriminator of a folder that ``convert`` wrote.

    Returns:
        The network on the CPU, in single precision, frozen.

    Raises:
        UserError: A file is missing or damaged, or the two do not belong together.
    """
    record = _read_record(folder)
    path = folder / WEIGHTS
    if path.is_file() and sha256(path) != record["sha256"]:
        raise UserError(f"{path} is damaged: delete {folder} and convert the published file again")
    weights = read_tensors(path)
    with understood(folder / CONFIG):
        network = empty(OfficialConfig.from_record(record["config"]))
    own = network.state_dict()
    if own.keys() != weights.keys() or any(own[k].shape != weights[k].shape for k in own):
        raise UserError(
            f"{path} holds another network than {CONFIG} beside it says: delete {folder} and "
            "convert the published file again"
        )
    network.load_state_dict(weights, assign=True)
    return network.eval().requires_grad_(False)  # noqa: FBT003


def _is_of(record: dict[str, Any], config: OfficialConfig) -> bool:
    """Whether a folder's record has this shape; missing settings mean the defaults."""
    try:
        return OfficialConfig.from_record(record["config"]) == config
    except UserError:
        return False


def _read_record(folder: Path) -> dict[str, Any]:
    record = read_object(folder / CONFIG)
    wanted = {"config", "sha256", "source", "source_sha256"}
    if set(record) != wanted:
        raise UserError(
            f"{folder / CONFIG} is not that of converted weights: delete {folder} and convert the "
            "published file again"
        )
    return record
