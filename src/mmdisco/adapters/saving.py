"""Writes a model's parts as a folder in diffusers' layout, whole or not at all."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers

from mmdisco.errors import UserError
from mmdisco.files import write_json


def save_parts(folder: Path, pipeline: str, parts: Mapping[str, Any]) -> None:
    """Write every part into its sub-folder, and ``model_index.json``.

    Args:
        folder: Must not be there, or be empty.
        pipeline: The diffusers pipeline that the parts make up.
        parts: Sub-folder to a network, tokenizer or scheduler.

    Raises:
        UserError: The folder holds something, or cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} holds something already: name a new folder")
    beside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        beside.mkdir(parents=True)
        for name, part in parts.items():
            part.save_pretrained(str(beside / name))
        write_json(beside / "model_index.json", _index(pipeline, parts))
        if folder.exists():
            folder.rmdir()
        beside.rename(folder)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _index(pipeline: str, parts: Mapping[str, Any]) -> dict[str, Any]:
    classes = {
        name: [type(part).__module__.split(".")[0], type(part).__name__]
        for name, part in parts.items()
    }
    return {"_class_name": pipeline, "_diffusers_version": diffusers.__version__, **classes}
