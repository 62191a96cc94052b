"""Checkpoints in diffusers' layout: a folder on disk, or an id of the Hugging Face hub.

All files are looked for before anything is loaded, so that one message names whatever is missing.
A network whose weights do not fill it, or hold more than it has, is refused. Knows no model.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeVar

import diffusers
import torch
from diffusers import ModelMixin
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import PreTrainedTokenizerBase

from mmdisco.adapters.parts import Part
from mmdisco.adapters.tensors import expect_finite
from mmdisco.errors import UserError
from mmdisco.files import read_object, understood

Network = TypeVar("Network", bound=nn.Module)
Tokenizer = TypeVar("Tokenizer", bound=PreTrainedTokenizerBase)

_HUB = "https://huggingface.co/"
_REFUSALS = (
    AttributeError,
    KeyError,
    OSError,
    RuntimeError,
    TypeError,
    UnpicklingError,
    ValueError,
)


@dataclass(frozen=True)
class Checkpoint:
    """A folder of parts.

    Attributes:
        folder: Where they are.
        home: Where they come from, for messages.
        dtype: What networks are loaded in.
    """

    folder: Path
    home: str
    dtype: torch.dtype

    def network(self, part: Part, kind: type[Network]) -> Network:
        """A network with its weights.

        Raises:
            UserError: A file is cut short, or holds another network or values that are no numbers.
        """
        path = self.folder / part.name
        files = part.chosen(self.folder)
        for file in files:
            self._expect_whole(path / file)
        self._expect_class(path, kind)
        expect_possible(read_object(path / "config.json"), path / "config.json")
        loader: Any = kind
        try:
            network, report = loader.from_pretrained(
                str(path),
                dtype=self.dtype,
                variant=part.variant_of(files),
                use_safetensors=files[0].endswith((".safetensors", ".json")),
                local_files_only=True,
                output_loading_info=True,
            )
        except _REFUSALS as error:
            raise UserError(f"{path} cannot be loaded: {_one_line(error)}") from error
        self._expect_filled(path, kind, report)
        expect_finite(network.state_dict(), path)
        return network

    def tokenizer(self, part: Part, kind: type[Tokenizer]) -> Tokenizer:
        """A tokenizer.

        Raises:
            UserError: Its files cannot be read.
        """
        path, loader = self.folder / part.name, _untyped(kind)
        try:
            return loader.from_pretrained(str(path), local_files_only=True)
        except _REFUSALS as error:
            raise UserError(f"{path} cannot be loaded: {_one_line(error)}") from error

    def scheduler(self, part: Part) -> SchedulerMixin:
        """The scheduler of the class that its configuration names.

        Raises:
            UserError: The file cannot be read, or diffusers has no such class.
        """
        path = self.folder / part.name / "scheduler_config.json"
        config: dict[str, Any] = read_object(path)
        name = str(config.get("_class_name"))
        kind = getattr(diffusers, name, None)
        if not (isinstance(kind, type) and issubclass(kind, SchedulerMixin)):
            raise UserError(f"{path} names the scheduler {name}: diffusers has none of that name")
        expect_possible(config, path)
        with understood(path):
            return _untyped(kind).from_config(config)

    def class_of(self, part: Part) -> str:
        """The class that a network of diffusers was saved from; "" where the file says none."""
        config: dict[str, Any] = read_object(self.folder / part.name / "config.json")
        return str(config.get("_class_name", ""))

    def _expect_whole(self, file: Path) -> None:
        if file.suffix != ".safetensors":
            return
        try:
            with safe_open(file, "pt"):
                pass
        except (OSError, SafetensorError) as error:
            raise UserError(
                f"{file} is cut short or no safetensors file: get it again from {self.home}"
            ) from error

    def _expect_class(self, path: Path, kind: type[nn.Module]) -> None:
        found = read_object(path / "config.json").get("_class_name", "")
        if issubclass(kind, ModelMixin) and found != kind.__name__:
            raise UserError(
                f"{path} holds a network of class {found or 'unknown'}, not {kind.__name__}: it is "
                "a checkpoint of another model"
            )

    def _expect_filled(self, path: Path, kind: type[nn.Module], report: Mapping[str, Any]) -> None:
        wrong = [("lack", report["missing_keys"]), ("misfit", report["mismatched_keys"])]
        if issubclass(kind, ModelMixin):
            # transformers' checkpoints may hold whole models of which a part is used
            wrong.append(("have besides", report["unexpected_keys"]))
        for verb, names in wrong:
            if names:
                first = sorted(map(str, names))[0]
                raise UserError(
                    f"{path}: the weights {verb} {len(names)} tensors of {kind.__name__}, the "
                    f"first {first}; configuration and weights are not of one checkpoint"
                )


def expect_complete(checkpoints: Sequence[tuple[Checkpoint, Sequence[Part]]], model: str) -> None:
    """Make sure that every part of every checkpoint is there.

    Raises:
        UserError: Files are missing; a line for each checkpoint names them, their folder and the
            command that fetches them.
    """
    lines: list[str] = []
    for checkpoint, parts in checkpoints:
        missing = [name for part in parts for name in part.missing(checkpoint.folder)]
        if missing:
            how = fetch_command(checkpoint, missing)
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            lines.append(f"{missing[0]}{more} in {checkpoint.folder}: {how}")
    if lines:
        raise UserError("\n".join([f"{model} lacks files: {lines[0]}", *lines[1:]]))


def fetch_command(checkpoint: Checkpoint, names: Sequence[str]) -> str:
    """What to type to get files of a checkpoint, or the page to take them from."""
    identifier = checkpoint.home.removeprefix(_HUB)
    if identifier == checkpoint.home:
        return f"get {', '.join(names)} from {checkpoint.home}"
    words = ["hf", "download", identifier, *names]
    # what lies in the hub's own cache is fetched into that
    if not any(part.startswith("models--") for part in checkpoint.folder.parts):
        words += ["--local-dir", str(checkpoint.folder)]
    return shlex.join(words)


def expect_possible(config: Mapping[str, Any], path: Path) -> None:
    """Make sure that no number of a library's configuration asks for what no network has.

    Raises:
        UserError: One does.
    """
    waiting: list[tuple[str, Any]] = list(config.items())
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, Mapping):
            waiting.extend(value.items())
        elif isinstance(value, list):
            waiting.extend((name, one) for one in value)
        elif isinstance(value, int) and value > (most := _most(name)):
            raise UserError(f"{path}: {name} is {value}, which is more than {most}")


def _most(name: str) -> int:
    repeated = any(word in name for word in ("layers", "blocks", "num_res", "depth"))
    # of tokens and samples there may be many; of channels, layers and steps not
    return 1_000 if repeated else 2**20


def _untyped(kind: Any) -> Any:
    return kind


def _one_line(error: Exception) -> str:
    """The first sentence, for what follows is advice on calling the library."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text.split(". ")[0][:300]
