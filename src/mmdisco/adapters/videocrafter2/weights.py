"""The weights of VideoCrafter2: ``model.ckpt`` as it is published, read once, and what it becomes.

Beside the checkpoint are put ``unet.safetensors``, ``autoencoder.safetensors``,
``text.safetensors`` and, when they are whole, ``config.json``. From then on the checkpoint itself
is no longer needed.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from mmdisco.adapters.checkpoint import Network, load_into, materialize, summary
from mmdisco.adapters.components import VIDEOCRAFTER2
from mmdisco.adapters.videocrafter2 import keys
from mmdisco.adapters.videocrafter2.autoencoder import Autoencoder, AutoencoderShape
from mmdisco.adapters.videocrafter2.schedule import clean_scales, training_betas
from mmdisco.adapters.videocrafter2.text import OpenCLIPText, TowerShape
from mmdisco.adapters.videocrafter2.unet import UNet, UNetShape
from mmdisco.errors import UserError
from mmdisco.io.files import expect_writable, read_object, read_tensors, write_json, write_tensors
from mmdisco.io.pickles import read_pickle, state_dict

SOURCE: Final = "VideoCrafter/VideoCrafter2"
(CHECKPOINT,), CONVERTED = VIDEOCRAFTER2.choices
CONFIG: Final = "config.json"
ADVICE: Final = f"take {CHECKPOINT} of {SOURCE}"

# what DeepSpeed puts before every name
_WRAPPER = "_forward_module."
_END = 2**20


@dataclass(frozen=True)
class Architecture:
    """Sizes of the three networks; the defaults are those of the published weights."""

    unet: UNetShape = field(default_factory=UNetShape)
    autoencoder: AutoencoderShape = field(default_factory=AutoencoderShape)
    text: TowerShape = field(default_factory=TowerShape)

    @property
    def networks(self) -> dict[str, tuple[Callable[[], nn.Module], keys.KeyGroup]]:
        """By name: how to make each network, without values, and its part of the checkpoint."""
        return {
            "unet": (lambda: UNet(self.unet), keys.UNET),
            "autoencoder": (
                lambda: Autoencoder(self.autoencoder),
                keys.autoencoder(len(self.autoencoder.multipliers)),
            ),
            "text": (lambda: OpenCLIPText(self.text), keys.tower(self.text.layers)),
        }

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> "Architecture":
        """Undo ``dataclasses.asdict`` and JSON."""
        return Architecture(
            UNetShape(**_tuples(record["unet"])),
            AutoencoderShape(**_tuples(record["autoencoder"])),
            TowerShape(**_tuples(record["text"])),
        )


@dataclass(frozen=True)
class Networks:
    """The three networks, frozen and in evaluation mode."""

    unet: UNet
    autoencoder: Autoencoder
    text: OpenCLIPText


PUBLISHED: Final = Architecture()


def load_networks(folder: Path, architecture: Architecture = PUBLISHED) -> Networks:
    """The networks of a folder, in the precision they are stored in; converts the checkpoint first.

    Args:
        folder: It has ``model.ckpt`` or what a conversion has written.
        architecture: Of a checkpoint that is not converted yet.

    Raises:
        UserError: A file is damaged or of another network, or the folder cannot be written to and
            the checkpoint is not converted yet.
    """
    if not _is_converted(folder):
        convert(folder / CHECKPOINT, architecture)
    path = folder / CONFIG
    try:
        stored = Architecture.from_record(read_object(path))
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged: delete it, and give {CHECKPOINT} again") from error
    return Networks(
        unet=_load(folder, "unet", lambda: UNet(stored.unet)),
        autoencoder=_load(folder, "autoencoder", lambda: Autoencoder(stored.autoencoder)),
        text=_load(folder, "text", lambda: OpenCLIPText(stored.text)),
    )


def convert(checkpoint: Path, architecture: Architecture = PUBLISHED) -> None:
    """Write what a checkpoint holds beside it, as safetensors files by our names.

    Args:
        checkpoint: ``model.ckpt``.
        architecture: Of its networks.

    Raises:
        UserError: The checkpoint is damaged or another one; nothing has been written then.
    """
    weights = _published(read_pickle(checkpoint), checkpoint)
    _expect_schedule(weights, checkpoint)
    parts = {
        name: _part(weights, part, checkpoint) for name, (_, part) in architecture.networks.items()
    }
    prefixes = tuple(part.prefix for _, part in architecture.networks.values())
    known = {*keys.SCHEDULE, *keys.DERIVED}
    strange = [key for key in weights if key not in known and not key.startswith(prefixes)]
    if strange:
        raise UserError(f"{checkpoint} holds more, {summary(strange)}: {ADVICE}")
    for name, (make, _) in architecture.networks.items():
        load_into(materialize(make), parts[name], checkpoint, ADVICE)
    folder = checkpoint.parent
    expect_writable(folder / CONFIG)
    # its presence says that the others are whole
    (folder / CONFIG).unlink(missing_ok=True)
    for name, tensors in parts.items():
        write_tensors(folder / f"{name}.safetensors", tensors, {"source": checkpoint.name})
    write_json(folder / CONFIG, {**asdict(architecture), "checkpoint": _mark(checkpoint)})


def _is_converted(folder: Path) -> bool:
    """Whether all that a conversion writes is there, and of the checkpoint that is there now."""
    if not all((folder / name).is_file() for name in CONVERTED):
        return False
    checkpoint, config = folder / CHECKPOINT, read_object(folder / CONFIG)
    return not checkpoint.is_file() or config.get("checkpoint") == _mark(checkpoint)


def _mark(checkpoint: Path) -> str:
    """What tells checkpoints of one size apart: at the end are the sums of all their tensors."""
    with checkpoint.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _END))
        return hashlib.sha256(file.read()).hexdigest()


def _load(folder: Path, name: str, make: Callable[[], Network]) -> Network:
    path = folder / f"{name}.safetensors"
    advice = f"delete it, and give {CHECKPOINT} again"
    return load_into(materialize(make), read_tensors(path), path, advice)


def _published(record: Any, path: Path) -> dict[str, Tensor]:
    """The state dict, also where a trainer or DeepSpeed has wrapped it."""
    if isinstance(record, Mapping) and "state_dict" in record:
        return state_dict(record["state_dict"], path)
    if isinstance(record, Mapping) and "module" in record:
        wrapped = state_dict(record["module"], path)
        return {key.removeprefix(_WRAPPER): value for key, value in wrapped.items()}
    return state_dict(record, path)


def _part(weights: Mapping[str, Tensor], part: keys.KeyGroup, path: Path) -> dict[str, Tensor]:
    theirs = {key: value for key, value in weights.items() if key.startswith(part.prefix)}
    named = {part.rename(key.removeprefix(part.prefix)): one for key, one in theirs.items()}
    if len(named) < len(theirs):
        raise UserError(f"{path} holds another network, some weights twice: {ADVICE}")
    return {key: _linear(key, value) for key, value in named.items() if not keys.NOT_RUN.match(key)}


def _linear(key: str, value: Tensor) -> Tensor:
    """Convolutions of one tap along time are linear maps."""
    return value.squeeze(-1) if key in keys.ONE_TAP and value.ndim == 3 else value


def _expect_schedule(weights: Mapping[str, Tensor], path: Path) -> None:
    """Weights that were trained on other noise levels would give other noise, and not fail."""
    for key, ours in (("betas", training_betas()), ("scale_arr", clean_scales())):
        found = weights.get(key)
        if found is None:
            raise UserError(f"{path} holds another network, it lacks {key}: {ADVICE}")
        # the published table of scales goes on past the last timestep
        head = found.double().flatten()[: len(ours)]
        if head.shape != ours.shape or not torch.allclose(head, ours, rtol=0.01, atol=0):
            raise UserError(f"{path} was trained on other noise levels, its {key} differ: {ADVICE}")


def _tuples(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(one) if isinstance(one, list) else one for key, one in record.items()}
