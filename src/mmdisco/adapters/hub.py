"""Finds the folder of a checkpoint: a path, or a model id of the Hugging Face hub.

A cached copy that is complete is used as it is, without a look at the network.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from huggingface_hub import constants, snapshot_download, try_to_load_from_cache

from mmdisco.adapters.checkpoint import Checkpoint
from mmdisco.adapters.parts import Part
from mmdisco.errors import UserError

_ID = re.compile(r"[\w.-]+/[\w.-]+")


def find(source: str | Path, parts: Sequence[Part], dtype: torch.dtype, usual: str) -> Checkpoint:
    """The checkpoint of a folder or an id; not complete where files are to be had nowhere.

    Args:
        source: A folder in diffusers' layout, or an id such as ``owner/name``.
        parts: What to download of an id.
        dtype: What networks are to be loaded in.
        usual: The id that a folder of this kind usually comes from, for messages.

    Raises:
        UserError: ``source`` is neither a folder nor the form of an id.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return Checkpoint(path, _address(usual), dtype)
    if not _ID.fullmatch(str(source)):
        raise UserError(
            f"{source} is no folder, and no id of the Hugging Face hub either: give the path of a "
            f"folder, or an id such as {usual}"
        )
    return Checkpoint(_folder_of(str(source), parts), _address(str(source)), dtype)


def _folder_of(repository: str, parts: Sequence[Part]) -> Path:
    there = cached(repository, parts)
    if not _lacking(there, parts):
        return there
    wanted = parts
    ranks = dict.fromkeys(parts, 0)
    while wanted:
        patterns = [one for part in parts for one in part.patterns(ranks[part])]
        try:
            folder = Path(snapshot_download(repository, allow_patterns=patterns))
        except OSError:  # all of the hub's own: offline, no such id, no access
            return there
        wanted = [part for part in _lacking(folder, parts) if ranks[part] + 1 < len(part.choices)]
        for part in wanted:
            ranks[part] += 1
        there = folder
    return there


def _lacking(folder: Path, parts: Sequence[Part]) -> list[Part]:
    return [part for part in parts if part.missing(folder)]


def cached(repository: str, parts: Sequence[Part]) -> Path:
    """The cached snapshot, or the folder that would hold the repository."""
    for part in parts:
        for name in (*part.always, *(choice[0] for choice in part.choices)):
            relative = Path(part.name) / name
            found = try_to_load_from_cache(repository, str(relative))
            if isinstance(found, str):
                return Path(found).parents[len(relative.parts) - 1]
    return Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"


def _address(repository: str) -> str:
    return f"https://huggingface.co/{repository}"
