"""State of a training: averages of weights and losses, and its checkpoint.

A checkpoint is one safetensors file, either complete or absent.
"""

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn, uint8
from torch.optim import Optimizer

from mmdisco.core.av import AV
from mmdisco.core.losses import Losses
from mmdisco.core.noise import NoiseLevel
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


Module = TypeVar("Module", bound=nn.Module)


class EMA(Generic[Module]):
    """Exponential moving average of a network's weights.

    Args:
        network: The network to follow; copied, not kept.
        decay: Weight of the past in [0, 1), at most (1 + n) / (10 + n) after n updates.
    """

    def __init__(self, network: Module, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)  # noqa: FBT003
        self._decay = decay

    def update(self, network: Module, step: int) -> None:
        """Move towards ``network`` after its ``step``-th update, counted from 0."""
        decay = min(self._decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for mean, value in zip(self.network.parameters(), network.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)


BINS = 8


class LossAverages:
    """Sums of the losses, by eighths of the noise angle of the noisier modality."""

    def __init__(self) -> None:
        # rows: count, discrimination, audio's and video's denoising, correct; columns: bins
        self._sums = torch.zeros(5, BINS, dtype=torch.float64)
        self._norms = torch.zeros(2, dtype=torch.float64)
        # count, loss and correct of the contrastive term
        self._contrastive = torch.zeros(3, dtype=torch.float64)

    def add(self, level: AV[NoiseLevel], losses: Losses, gradient_norm: Tensor) -> None:
        """Add the losses of one step."""
        angle = torch.maximum(level.audio.angle, level.video.angle)
        bins = (angle * BINS).long().clamp(0, BINS - 1)
        columns = (
            torch.ones_like(losses.correct),
            losses.discrimination,
            losses.denoising.audio,
            losses.denoising.video,
            losses.correct,
        )
        values = torch.stack([one.detach().double() for one in columns])
        self._sums.index_add_(1, bins, values)
        self._norms += torch.stack([torch.ones(()), gradient_norm.detach()]).double()

    def add_contrastive(self, losses: Losses) -> None:
        """Add the losses of one step's groups."""
        columns = (torch.ones_like(losses.correct), losses.discrimination, losses.correct)
        self._contrastive += torch.stack([one.detach().double().sum() for one in columns])

    def summary(self) -> dict[str, object]:
        """Return means for the log; an empty bin is null."""
        names = ("discrimination", "denoising_audio", "denoising_video", "accuracy")
        count, *sums = self._sums.tolist()
        means = {
            name: sum(row) / max(1.0, sum(count)) for name, row in zip(names, sums, strict=True)
        }
        by_level = {
            name: [value / n if n else None for value, n in zip(row, count, strict=True)]
            for name, row in zip(names, sums, strict=True)
        }
        means["gradient_norm"] = float(self._norms[1] / self._norms[0].clamp(min=1))
        total, loss, correct = self._contrastive.tolist()
        if total:
            means |= {"contrastive": loss / total, "contrastive_accuracy": correct / total}
        return {**means, "by_angle": by_level}

    def state(self) -> dict[str, Tensor]:
        """Return the sums, for a checkpoint between two lines."""
        return {"sums": self._sums, "norms": self._norms, "contrastive": self._contrastive}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Restore a ``state``."""
        self._sums, self._norms = state["sums"], state["norms"]
        self._contrastive = state["contrastive"]
