"""Checkpoints in diffusers' layout: a folder on disk, or an id on the Hugging Face hub.

Files are located before anything is loaded, so that one message names all that are missing. A
complete cached copy is used without network access. Weights must be plain, finite tensors and match
their network exactly. Every fault is a ``UserError`` of one line that names the file and what to
do.
"""

import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeVar

import diffusers
import torch
from diffusers import ModelMixin
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from huggingface_hub import constants, snapshot_download, try_to_load_from_cache
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from mmdisco.adapters.components import ComponentFiles
from mmdisco.errors import UserError
from mmdisco.io.files import read_object, understood

Network = TypeVar("Network", bound=nn.Module)
Component = TypeVar("Component", nn.Module, PreTrainedTokenizerBase, SchedulerMixin)

_HUB = "https://huggingface.co/"
_ID = re.compile(r"[\w.-]+/[\w.-]+")
_SHOWN = 3
_REFUSALS = (
    AttributeError,
    KeyError,
    OSError,
    RuntimeError,
    TypeError,
    UnpicklingError,
    ValueError,
)


def load_into(network: Network, weights: Mapping[str, Tensor], path: Path, advice: str) -> Network:
    """Load ``weights`` into ``network``, frozen and in evaluation mode.

    Nothing is copied before everything fits. A network on the meta device takes the tensors as they
    are.

    Args:
        network: The network; its values are replaced.
        weights: Tensors by our names.
        path: Source of the weights, for the message.
        advice: File to use instead, for the message.

    Raises:
        UserError: The names or shapes are not the network's, or a value is not finite.
    """
    own = network.state_dict()
    faults = [
        *(f"lacks {key}" for key in own if key not in weights),
        *(f"has {key}" for key in weights if key not in own),
        *(
            f"has {key} of shape {tuple(weights[key].shape)}, not {tuple(value.shape)}"
            for key, value in own.items()
            if key in weights and weights[key].shape != value.shape
        ),
        *(
            f"has {key} of type {value.dtype}"
            for key, value in weights.items()
            if not value.is_floating_point()
        ),
    ]
    if faults:
        raise UserError(f"{path} holds another network, it {summary(faults)}: {advice}")
    expect_finite(weights, path)
    network.load_state_dict(weights, assign=True)
    return network.eval().requires_grad_(False)  # noqa: FBT003


def materialize(make: Callable[[], Network]) -> Network:
    """Call ``make`` on the meta device: no memory is taken and no random number drawn."""
    with torch.device("meta"):
        return make()


def expect_finite(weights: Mapping[str, Tensor], path: Path) -> None:
    """Check that every value is finite: a damaged one would only show as black frames.

    Args:
        weights: Tensors of any precision.
        path: Source of the weights, for the message.

    Raises:
        UserError: A value is infinite or NaN.
    """
    bad = [key for key, value in weights.items() if not bool(torch.isfinite(value).all())]
    if bad:
        raise UserError(f"{path} holds values that are no numbers, in {summary(bad)}: get it again")


def summary(items: Iterable[str]) -> str:
    """Join the first few of ``items``, and count the rest."""
    listed = list(items)
    more = len(listed) - _SHOWN
    shown = ", ".join(listed[:_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown


@dataclass(frozen=True)
class Checkpoint:
    """Folder of components.

    Attributes:
        folder: The folder.
        home: Origin of the files, for messages.
        dtype: Precision of loaded networks.
    """

    folder: Path
    home: str
    dtype: torch.dtype

    def load(self, part: ComponentFiles, kind: type[Any]) -> Any:
        """Load a network, a tokenizer or a scheduler.

        Args:
            part: The component.
            kind: Its class; ``SchedulerMixin`` for the scheduler that its configuration names.

        Raises:
            UserError: A file is truncated or damaged, or holds another network or values that are
                not finite, or the library has no class of the scheduler's name.
        """
        if issubclass(kind, SchedulerMixin):
            return self._scheduler(part)
        path = self.folder / part.name
        try:
            if issubclass(kind, PreTrainedTokenizerBase):
                return kind.from_pretrained(str(path), local_files_only=True)
            return self._network(path, part, kind)
        except _REFUSALS as error:
            raise UserError(f"{path} cannot be loaded: {_one_line(error)}") from error

    def _network(self, path: Path, part: ComponentFiles, kind: Any) -> nn.Module:
        files = part.chosen(self.folder)
        for file in files:
            self._expect_whole(path / file)
        self._expect_class(path, kind)
        expect_possible(read_object(path / "config.json"), path / "config.json")
        network, report = kind.from_pretrained(
            str(path),
            dtype=self.dtype,
            use_safetensors=files[0].endswith((".safetensors", ".json")),
            local_files_only=True,
            output_loading_info=True,
        )
        self._expect_filled(path, kind, report)
        expect_finite(network.state_dict(), path)
        return network

    def _scheduler(self, part: ComponentFiles) -> SchedulerMixin:
        path = self.folder / part.name / "scheduler_config.json"
        config: dict[str, Any] = read_object(path)
        name = str(config.get("_class_name"))
        kind: Any = getattr(diffusers, name, None)
        if not (isinstance(kind, type) and issubclass(kind, SchedulerMixin)):
            raise UserError(f"{path} names the scheduler {name}: diffusers has none of that name")
        expect_possible(config, path)
        untyped: Any = kind
        with understood(path):
            return untyped.from_config(config)

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


def expect_complete(
    checkpoints: Sequence[tuple[Checkpoint, Sequence[ComponentFiles]]], model: str
) -> None:
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
    """Return the command that downloads files of a checkpoint, or the page to get them from."""
    identifier = checkpoint.home.removeprefix(_HUB)
    if identifier == checkpoint.home:
        return f"get {', '.join(names)} from {checkpoint.home}"
    words = ["hf", "download", identifier, *names]
    # what lies in the hub's own cache is fetched into that
    if not any(part.startswith("models--") for part in checkpoint.folder.parts):
        words += ["--local-dir", str(checkpoint.folder)]
    return shlex.join(words)


def expect_possible(config: Mapping[str, Any], path: Path) -> None:
    """Check that no number in a library's configuration is absurdly large for a network.

    Raises:
        UserError: One is.
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


def _one_line(error: Exception) -> str:
    """Return the first sentence; what follows is advice on calling the library."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text.split(". ")[0][:300]


def find(
    source: str | Path, parts: Sequence[ComponentFiles], dtype: torch.dtype, usual: str
) -> Checkpoint:
    """Locate a checkpoint; of an id, download what is not cached.

    Where the hub does not answer, the checkpoint lacks files: see ``expect_complete``.

    Args:
        source: Folder in diffusers' layout, or id such as ``owner/name``.
        parts: Components to download of an id.
        dtype: Precision of loaded networks.
        usual: Usual id of such a checkpoint, for messages.

    Raises:
        UserError: ``source`` is neither a folder nor the form of an id.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return Checkpoint(path, _HUB + usual, dtype)
    if not _ID.fullmatch(str(source)):
        raise UserError(
            f"{source} is no folder, and no id of the Hugging Face hub either: give the path of a "
            f"folder, or an id such as {usual}"
        )
    folder = cached(str(source), parts)
    if any(part.missing(folder) for part in parts):
        with suppress(OSError):  # all of the hub's own: offline, no such id, no access
            there = {file.filename for file in snapshot_download(str(source), dry_run=True)}
            patterns = [pattern for part in parts for pattern in part.patterns(there)]
            folder = Path(snapshot_download(str(source), allow_patterns=patterns))
    return Checkpoint(folder, f"{_HUB}{source}", dtype)


def cached(repository: str, parts: Sequence[ComponentFiles]) -> Path:
    """Return the cached snapshot, or the folder that would hold the repository."""
    for part in parts:
        for name in (*part.always, *(choice[0] for choice in part.choices)):
            relative = Path(part.name) / name
            found = try_to_load_from_cache(repository, str(relative))
            if isinstance(found, str):
                return Path(found).parents[len(relative.parts) - 1]
    return Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
