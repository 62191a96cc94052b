"""Checkpoint of a training run: one safetensors file, either complete or absent."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn, uint8
from torch.optim import Optimizer

from mmdisco.errors import UserError
from mmdisco.io.files import parse_json, read_header, read_tensors, write_tensors


@dataclass(frozen=True)
class TrainingCheckpoint:
    """Everything a run needs to resume as if it had never stopped.

    Attributes:
        step: Steps done.
        settings: Settings that must not change between a run and its resumption.
        tensors: Named ``group.name``: network, average, optimiser and the level distribution.
    """

    step: int
    settings: Mapping[str, object]
    tensors: Mapping[str, Tensor]

    def save(self, path: Path) -> None:
        """Write to a temporary file and rename it."""
        # a single entry: safetensors stores several in no fixed order, and equal runs give equal
        # files
        record = {"step": self.step, "settings": self.settings, "sha256": _sum(self.tensors)}
        run = json.dumps(record)
        write_tensors(path, self.tensors, {"run": run})

    @staticmethod
    def load(path: Path) -> "TrainingCheckpoint":
        """Read a checkpoint.

        Raises:
            UserError: The file is damaged, or is no checkpoint.
        """
        metadata = read_header(path).metadata
        if "run" not in metadata:
            raise UserError(f"{path} is no training checkpoint: delete it to start anew")
        run = parse_json(metadata["run"], str(path))
        tensors = read_tensors(path)
        if not isinstance(run, dict) or not isinstance(run.get("settings"), dict):
            raise UserError(f"{path} is no training checkpoint: delete it to start anew")
        if type(run.get("step")) is not int:
            raise UserError(f"{path} tells of no step: delete it to start anew")
        # checkpoints of earlier versions have no checksum
        if run.get("sha256") not in (None, _sum(tensors)):
            raise UserError(
                f"{path} is damaged, its checksum is another: delete it to start anew, or put a "
                "copy in its place"
            )
        return TrainingCheckpoint(run["step"], run["settings"], tensors)

    def group(self, name: str) -> dict[str, Tensor]:
        """Return the tensors of one group, without the prefix."""
        prefix = f"{name}."
        return {
            key.removeprefix(prefix): value
            for key, value in self.tensors.items()
            if key.startswith(prefix)
        }


def _sum(tensors: Mapping[str, Tensor]) -> str:
    """Hash names and values (SHA-256)."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(name.encode())
        found.update(tensor.cpu().contiguous().reshape(-1).view(uint8).numpy().tobytes())
    return found.hexdigest()


def grouped(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Prefix the names of tensors with their group."""
    return {f"{name}.{key}": value for key, value in tensors.items()}


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], source: Path) -> None:
    """Load weights, all of them and of the right shape, or change nothing.

    Raises:
        UserError: A name or a shape does not fit.
    """
    own = network.state_dict()
    for name in sorted(own.keys() | weights.keys()):
        if name not in weights or name not in own:
            side = "lacks" if name in own else "has an unknown"
            raise UserError(f"{source} {side} {name}: it holds another network, give another file")
        if own[name].shape != weights[name].shape:
            raise UserError(
                f"{source}: {name} is {tuple(weights[name].shape)}, this network's is "
                f"{tuple(own[name].shape)}; give the settings it was trained with or another file"
            )
    network.load_state_dict(dict(weights))


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's state as named tensors."""
    state: dict[int, dict[str, Tensor]] = optimizer.state_dict()["state"]
    return {f"{index}.{name}": value for index, own in state.items() for name, value in own.items()}


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Invert ``optimizer_tensors``."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    record = optimizer.state_dict()
    record["state"] = state
    optimizer.load_state_dict(record)
